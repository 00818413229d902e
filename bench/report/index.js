"use strict";
// Without scripts the page is whole: sorting, filtering and asking the marks of figures by touch or key are all that is added.

function keyOf(row, column) {
  const text = row.cells[column].textContent.trim().replace(/(\d),(?=\d{3})/g, "$1");
  const isNumber = /^[<×+−-]*\s*[+-]?\d/.test(text);
  return { text, number: isNumber ? parseFloat(text.replace(/^[<×\s]+/, "")) : NaN };
}

// Numbers, then words, then what has no value.
function rank(key) {
  return key.text ? Number(isNaN(key.number)) : 2;
}

function compared(first, second) {
  if (rank(first) === 0) return first.number - second.number;
  return first.text.localeCompare(second.text, "en", { numeric: true });
}

function sort(table, header) {
  const descending = header.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: keyOf(row, header.cellIndex) }));
  rows.sort((a, b) => rank(a.key) - rank(b.key) || (descending ? -1 : 1) * compared(a.key, b.key));
  body.append(...rows.map((entry) => entry.row));
}

// Each word behind a space, so that what begins with a word is found by the word behind a space.
function spaced(text) {
  return ` ${text.toLowerCase().split(/\W+/).filter(Boolean).join(" ")}`;
}

function filter(query, output) {
  const asked = query.split(/\s+/).map(spaced).filter((words) => words.trim());
  const rows = [...document.querySelectorAll("main tbody tr")];
  rows.forEach((row) => {
    const said = [row.closest("table").caption, ...row.cells].map((part) => spaced(part.textContent));
    row.hidden = !asked.every((words) => said.some((text) => text.includes(words)));
  });
  output.textContent = asked.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
}

document.querySelectorAll("main table").forEach((table) => {
  if (table.tBodies[0].rows.length < 2) return;
  table.querySelectorAll("thead th").forEach((header) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(table, header));
  });
});

// A figure's marks say what they are: under the pointer, at a touch, and to the keyboard, which enters each figure once
// and goes from mark to mark by the arrows. Moves, not entries: a page that scrolls below a resting pointer asks nothing.
function askable(drawing) {
  const marks = [...drawing.querySelectorAll(".mark")];
  if (!marks.length) return;
  const said = drawing.closest("figure").querySelector(".said");
  said.textContent = "Point at a mark to read it, or go to it with Tab and the arrows.";
  said.hidden = false;
  drawing.setAttribute("role", "group");  // an image could hold nothing that is reached by keys
  drawing.querySelectorAll("text").forEach((text) => text.setAttribute("aria-hidden", "true"));
  marks.forEach((mark, index) => {
    const text = mark.querySelector("title").textContent;
    const say = () => { said.textContent = text; };
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", text);
    mark.setAttribute("tabindex", index ? "-1" : "0");
    ["pointermove", "click", "focus"].forEach((event) => mark.addEventListener(event, say));
    mark.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const next = step && marks[index + step];
      if (!next) return;
      event.preventDefault();
      mark.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    });
  });
}

document.querySelectorAll("main figure svg").forEach(askable);

const form = document.querySelector(".filter");
form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
form.querySelector("input").addEventListener("input", (event) => {
  filter(event.target.value, form.querySelector("output"));
});
// A link to a note opens what it lies in.
window.addEventListener("hashchange", () => {
  const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const closed = place && place.closest("details");
  if (closed) { closed.open = true; place.scrollIntoView(); }
});
