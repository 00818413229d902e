"""Studies in tables: DictionaryLookup by model and number of keys, or what attention ranks.

`experiment` holds `study`, the name or path of an experiment file of that kind, and of a lookup which `protocol` of it.
Subjects are `MODEL, train` and `MODEL, test` in percent, columns the number of keys; of an attention study subjects are
models and columns the data, and the value is Kendall's tau between queries.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from bench import study_run
from bench.errors import UserError, unknown
from bench.kind import Line, Means, Sample
from bench.paper.table import Part
from bench.records import Record
from bench.report.studies import attention, lookup
from bench.report.studies.lookup import SUBSETS
from bench.runner import Unheard
from bench.study_config import AttentionStudy, LookupStudy, Study


class _Study:
    def problems(self, part: Part) -> Iterator[str]:
        """See `bench.kind.Kind`."""
        if surplus := sorted(part.experiment.keys() - {"study", "protocol"}):
            yield f"experiment.{surplus[0]}: {unknown('key', surplus[0], ['study', 'protocol'])}"
        try:
            study = study_run.read(str(part.experiment.get("study", "")))
        except UserError as problem:
            yield f"experiment.study: {problem}"
            return
        if isinstance(study, LookupStudy):
            known = [protocol.name for protocol in study.protocols]
            asked = str(part.experiment.get("protocol", ""))
            if asked not in known:
                yield f"experiment.protocol: {unknown('protocol', asked, known)}"

    def lines(self, part: Part) -> list[Line]:
        """See `bench.kind.Kind`."""
        return list(self.samples(part, []))

    def run(self, part: Part, lines: Sequence[Line], seeds: int, means: Means) -> int:
        """See `bench.kind.Kind`."""
        return study_run.StudyRun(_asked(part, seeds), means.folder, means.display, Unheard(), means.options).run()

    def samples(self, part: Part, records: Sequence[Record]) -> Mapping[Line, Sample]:
        """See `bench.kind.Kind`."""
        study = _asked(part, max(1, part.seeds.most))
        if isinstance(study, LookupStudy):
            return _looked_up(part, study, records)
        return _attended(part, study, records)


def _asked(part: Part, seeds: int) -> Study:
    """The study with so many seeds and, of a lookup, the one protocol of the part."""
    study = study_run.read(str(part.experiment["study"]))
    changed: dict[str, object] = {"seeds": tuple(range(seeds))}
    if isinstance(study, LookupStudy):
        chosen = part.experiment["protocol"]
        changed["protocols"] = tuple(protocol for protocol in study.protocols if protocol.name == chosen)
    return study.model_copy(update=changed)


def _looked_up(part: Part, study: LookupStudy, records: Sequence[Record]) -> dict[Line, Sample]:
    return {
        Line(part.name, f"{row.model}, {subset}", str(row.size), row.key.backend): Sample(
            values={fit.seed: 100 * getattr(fit, subset) for fit in row.fits},
            failures=Counter(outcome.status for outcome in row.not_done),
            seconds=row.seconds,
            missing="" if row.fits else "nothing is recorded yet",
        )
        for row in lookup.rows(study, records)
        for subset in SUBSETS
    }


def _attended(part: Part, study: AttentionStudy, records: Sequence[Record]) -> dict[Line, Sample]:
    found = {}
    for row in attention.rows(study, records):
        taus = {
            seed: sum(head.tau for head in each.heads) / len(each.heads) for seed, each in enumerate(row.attentions)
        }
        found[Line(part.name, row.model, row.data, row.key.backend)] = Sample(
            values=taus,
            failures=Counter(outcome.status for outcome in row.not_done),
            seconds=row.seconds,
            missing="" if taus else "nothing is recorded yet",
        )
    return found


KIND = _Study()
