"""A kind of experiment whose values are told beforehand, for tests of what a table makes of them."""

from grid_tools import Silent

from bench.folder import ResultsFolder
from bench.kind import Line, Means, Sample
from bench.options import Options
from bench.paper.reproduce import Ask, Reproduction
from bench.paper.table import TableFile


class Told:
    """A kind of experiment whose values are told beforehand; `KIND` of no file."""

    def __init__(self, values, barred=()):
        self.values, self.barred = values, barred
        self.seeds: dict[Line, int] = {}
        self.asked: list[tuple[str, int]] = []
        self.differs = ""
        self.failures: dict[str, dict[str, int]] = {}  # by subject
        self.seconds: dict[tuple[str, str], float] = {}  # of one run, by back end and column, if not ten

    def problems(self, part):
        return iter(())

    def lines(self, part):
        return [Line(part.name, s, c, b) for s, c in self.values for b in ("fast", "slow")]

    def run(self, part, lines, seeds, means):
        for line in lines:
            self.seeds[line] = max(seeds, self.seeds.get(line, 0))
            self.asked.append((line.id, seeds))
        return 0

    def samples(self, part, records):
        return {line: self._sample(line) for line in self.lines(part)}

    def _sample(self, line):
        n = self.seeds.get(line, 0)
        if line.backend in self.barred and n:
            return Sample(barred="parity: off", missing="parity: off")
        values = self.values[line.subject, line.column]
        seconds = n * self.seconds.get((line.backend, line.column), 10.0)
        failures = self.failures.get(line.subject, {})
        return Sample(dict(enumerate(values[:n])), failures, seconds=seconds, differs=self.differs if n else "")


def told_table(**changes) -> TableFile:
    content = {
        "title": "t", "paper": "p", "number": "1", "metric": "accuracy, %", "runs": 10, "protocol": "p",
        "confidence": "paper", "rule": {"least": 3},
        "published": [{"row": "GAT", "values": {"a": "80.0 ± 1.0", "b": "80.0 ± 1.0"}}],
        "part": [{"name": "ours", "kind": "told", "protocol": "p", "published": {"gat": "GAT"},
                  "seeds": {"least": 3, "most": 12, "beside": 2}}],
    }  # fmt: skip
    return TableFile.model_validate(content | changes)


def reproduction_of(table, tmp_path, **options) -> Reproduction:
    means = Means(ResultsFolder(tmp_path / "t"), Silent(), Options(parallel=2))  # whatever this machine has
    clock = options.pop("clock", lambda: 0.0)
    return Reproduction("t", table, means, Ask(**options), clock)


STEADY = [80.0, 80.2, 79.8] * 4
WILD = [76.0, 84.0, 80.0] * 4
