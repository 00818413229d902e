"""From a study to its jobs, and to what is recorded of them."""

from collections.abc import Iterator, Sequence

from bench.basis import attention_basis, lookup_basis
from bench.records import Record
from bench.study_config import (
    AttentionStudy,
    LayerHabits,
    LookupArchitecture,
    LookupModel,
    LookupStudy,
    LookupTraining,
    Study,
    StudyProtocol,
)
from bench.work import AttentionJob, Job, LookupJob

BACKEND = "shared structure"
"""What computes a DictionaryLookup: neither a library nor a plug-in, but `bench.studies.lookup_model`."""


def jobs(study: Study) -> list[LookupJob] | list[LookupJob | AttentionJob]:
    """All jobs of a study, seed after seed, protocol after protocol, small ones first."""
    match study:
        case LookupStudy():
            return [
                lookup_job(model, size, protocol, study.training, study.device, seed)
                for seed in study.seeds
                for protocol in study.protocols
                for size in sorted(study.sizes)
                for model in study.models
            ]
        case AttentionStudy():
            return list(_attention_jobs(study))


def lookup_job(
    model: LookupModel,
    size: int,
    protocol: StudyProtocol,
    training: LookupTraining,
    device: str,
    seed: int,
    attention_graphs: int = 0,
) -> LookupJob:
    """One point of one curve."""
    habits = protocol.layer.get(model.operator, LayerHabits())
    return LookupJob(
        backend=BACKEND,
        operator=model.operator,
        dataset=f"lookup k={size}",
        device=device,
        basis=lookup_basis(),
        size=size,
        protocol=protocol.plain(),
        architecture=LookupArchitecture(heads=model.heads, **habits.model_dump()),
        training=training,
        seed=seed,
        attention_graphs=attention_graphs,
    )


def _attention_jobs(study: AttentionStudy) -> Iterator[LookupJob | AttentionJob]:
    lookup, graph = study.lookup, study.graph
    for seed in study.seeds:
        for model in study.models:
            yield lookup_job(model, lookup.size, lookup.protocol, lookup.training, study.device, seed, lookup.graphs)
        for operator in study.operators:
            yield AttentionJob(
                backend=graph.backend,
                operator=operator,
                dataset=graph.dataset,
                device=study.device,
                basis=attention_basis(graph.backend, operator, graph.dataset, study.device),
                protocol=graph.protocol,
                architecture=graph.architecture,
                training=graph.training,
                seed=seed,
                min_degree=graph.min_degree,
            )


def of_study(study: Study, found: Sequence[Record]) -> list[tuple[Job, Record | None]]:
    """Each job of the study with the newest record that answers it, by whatever version of the code."""
    done = {record.job.question: record for record in found}
    return [(job, done.get(job.question)) for job in jobs(study)]
