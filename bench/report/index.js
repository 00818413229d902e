"use strict";
// Without scripts the page is whole: sorting, filtering and asking the marks of figures by touch or key are all that is added.

function keyOf(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = text.match(/^[<×+−-]*\s*([+-]?[\d,]+(?:\.\d+)?(?:e[+-]?\d+)?)/);
  return { text, number: number ? parseFloat(text.replace(/^[<×\s]+/, "").replace(/,/g, "")) : NaN };
}

function compared(first, second) {
  if (!first.text || !second.text) return first.text ? -1 : second.text ? 1 : 0;
  const numbers = [isNaN(first.number), isNaN(second.number)];
  if (!numbers[0] && !numbers[1]) return first.number - second.number;
  return numbers[0] - numbers[1] || first.text.localeCompare(second.text);
}

function sort(table, header) {
  const descending = header.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: keyOf(row, header.cellIndex) }));
  rows.sort((a, b) => {
    const empty = !a.key.text - !b.key.text;  // what has no value stays last, whichever way
    return empty || (descending ? -1 : 1) * compared(a.key, b.key);
  });
  body.append(...rows.map((entry) => entry.row));
}

function filter(words, output) {
  const rows = [...document.querySelectorAll("main tbody tr")];
  rows.forEach((row) => {
    const said = [...row.cells].map((cell) => cell.textContent.toLowerCase());
    row.hidden = !words.every((word) => said.some((text) => text.split(/[^\w]+/).some((part) => part.startsWith(word))));
  });
  output.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
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
  filter(event.target.value.toLowerCase().split(/\s+/).filter(Boolean), form.querySelector("output"));
});
// A link to a note opens what it lies in.
window.addEventListener("hashchange", () => {
  const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const closed = place && place.closest("details");
  if (closed) { closed.open = true; place.scrollIntoView(); }
});
