"""The activities: each one call into the service. They return what can be expected to go wrong, and do not raise."""

import azure.durable_functions as df

from backup_core.onboarding import consent, enrolment
from backup_core.service import current, maintain, steps, turns

blueprint = df.Blueprint()


@blueprint.activity_trigger(input_name="job")
def claim_next(job: dict) -> dict:  # type: ignore[type-arg]  # the worker refuses parameters of it
    return turns.claim_next(current.get(), job["tenant"], job["lane"])


@blueprint.activity_trigger(input_name="job")
def finish_drive(job: dict) -> dict:  # type: ignore[type-arg]
    return turns.finish(current.get(), job)


@blueprint.activity_trigger(input_name="job")
def plan_changes(job: dict) -> dict:  # type: ignore[type-arg]
    return steps.plan(current.get(), job)


@blueprint.activity_trigger(input_name="job")
def cut_batches(job: dict) -> dict:  # type: ignore[type-arg]
    return steps.cut(current.get(), job)


@blueprint.activity_trigger(input_name="job")
def save_batch(job: dict) -> dict:  # type: ignore[type-arg]
    return steps.save(current.get(), job)


@blueprint.activity_trigger(input_name="job")
def commit_snapshot(job: dict) -> dict:  # type: ignore[type-arg]
    return steps.commit(current.get(), job)


@blueprint.activity_trigger(input_name="job")
def sweep_state(job: dict) -> dict:  # type: ignore[type-arg]
    return maintain.sweep(current.get(), job)


@blueprint.activity_trigger(input_name="job")
def check_repository(job: dict) -> dict:  # type: ignore[type-arg]
    return maintain.check(current.get(), job)


@blueprint.activity_trigger(input_name="job")
def prove_consent(job: dict) -> dict:  # type: ignore[type-arg]
    return consent.prove_consent(current.get(), job["tenant"], job["prove"])


@blueprint.activity_trigger(input_name="job")
def enrol_page(job: dict) -> dict:  # type: ignore[type-arg]
    return enrolment.enrol_page(current.get(), job["tenant"], job["cursor"])
