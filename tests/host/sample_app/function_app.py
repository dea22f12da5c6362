"""A function app with one of everything that the host must be able to run; it backs up nothing."""

import datetime
import json
import os
import time
from pathlib import Path

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def note(line: str) -> None:
    """Leave a trace that a test can read, whichever process this is."""
    folder = os.environ.get("SAMPLE_NOTES")
    if folder:
        with (Path(folder) / "notes").open("a", encoding="utf-8") as notes:
            notes.write(f"{line}\n")


# -- HTTP --------------------------------------------------------------------------------------------------------------


@app.route(route="{ignored:maxlength(0)?}", methods=["GET"])
def home(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("home")


@app.route(route="echo/{name}", methods=["GET", "POST", "OPTIONS"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    answer = {
        "url": req.url,
        "method": req.method,
        "route": dict(req.route_params),
        "query": dict(req.params),
        "headers": dict(req.headers),
        "body": req.get_body().decode("latin-1"),
    }
    return func.HttpResponse(json.dumps(answer), mimetype="application/json")


@app.route(route="echo/literal", methods=["GET"])
def literal(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("literal")


@app.route(route="cookies", methods=["GET", "HEAD"])
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    answer = func.HttpResponse("", status_code=302, headers={"Location": "/elsewhere", "X-Own": "1"})
    answer.headers.add("Set-Cookie", "__Host-a=1.x_y-z; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=60")
    answer.headers.add("Set-Cookie", "b=2; Path=/")
    return answer


@app.route(route="guarded", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def guarded(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("inside")


@app.route(route="broken", methods=["GET"])
def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("a secret of the inside")


@app.route(route="slow", methods=["GET"])
def slow(req: func.HttpRequest) -> func.HttpResponse:
    time.sleep(30)
    return func.HttpResponse("late")


@app.route(route="size", methods=["POST"])
def size(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(str(len(req.get_body())))


@app.route(route="start/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client) -> func.HttpResponse:
    given = req.get_json() if req.get_body() else None
    instance_id = await client.start_new(req.route_params["name"], req.params.get("id"), given)
    return func.HttpResponse(instance_id, status_code=202)


@app.route(route="status/{instance_id}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def status(req: func.HttpRequest, client) -> func.HttpResponse:
    found = await client.get_status(req.route_params["instance_id"])
    if not found or found.runtime_status is None:
        return func.HttpResponse(status_code=404)
    return func.HttpResponse(json.dumps({"status": found.runtime_status.name, "output": found.output}))


# -- a timer -----------------------------------------------------------------------------------------------------------


@app.timer_trigger(schedule="%SAMPLE_SCHEDULE%", arg_name="timer", run_on_startup=False, use_monitor=True)
@app.durable_client_input(client_name="client")
async def tick(timer: func.TimerRequest, client) -> None:
    note(f"tick {timer.past_due} {timer.schedule_status['Next']}")
    await client.start_new("one", None, 1)


# -- orchestrations ----------------------------------------------------------------------------------------------------


@app.orchestration_trigger(context_name="context")
def one(context: df.DurableOrchestrationContext):
    return (yield context.call_activity("double", context.get_input()))


@app.orchestration_trigger(context_name="context")
def rounds(context: df.DurableOrchestrationContext):
    """Fixed groups, retry rounds with a timer between them: the shape that the product's orchestrations have."""
    pending, done, tries = list(range(context.get_input())), {}, 0
    while pending and tries < 6:
        again = []
        for first in range(0, len(pending), 3):
            group = pending[first : first + 3]
            answers = yield context.task_all([context.call_activity("flaky", {"n": n, "try": tries}) for n in group])
            for number, answer in zip(group, answers, strict=True):
                if answer["ok"]:
                    done[number] = answer["value"]
                else:
                    again.append(number)
        pending, tries = again, tries + 1
        if pending:
            yield context.create_timer(context.current_utc_datetime + datetime.timedelta(seconds=600))
    context.set_custom_status({"tries": tries})
    return {"sum": sum(done.values()), "tries": tries, "left": pending}


@app.orchestration_trigger(context_name="context")
def family(context: df.DurableOrchestrationContext):
    """Children, then a new generation of itself, as a lane has them."""
    given = context.get_input()
    total = given.get("total", 0)
    for number in range(2):
        child = yield context.call_sub_orchestrator("rounds", given["round"] + number + 1)
        total += child["sum"]
    if given["round"] < 2:
        context.continue_as_new({"round": given["round"] + 1, "total": total})
        return None
    return total


@app.orchestration_trigger(context_name="context")
def parent(context: df.DurableOrchestrationContext):
    return (yield context.call_sub_orchestrator("family", {"round": 0}))


@app.orchestration_trigger(context_name="context")
def patient(context: df.DurableOrchestrationContext):
    """Waits for an event, for an hour at most."""
    timer = context.create_timer(context.current_utc_datetime + datetime.timedelta(hours=1))
    event = context.wait_for_external_event("go")
    winner = yield context.task_any([event, timer])
    if winner == event:
        timer.cancel()
        return {"event": event.result}
    return {"event": None}


@app.orchestration_trigger(context_name="context")
def stern(context: df.DurableOrchestrationContext):
    """Catches the failure of an activity and then fails by itself."""
    try:
        yield context.call_activity("raising", {})
    except Exception as error:
        raise ValueError(f"caught: {str(error)[:60]}") from error


@app.orchestration_trigger(context_name="context")
def careless(context: df.DurableOrchestrationContext):
    """Not deterministic: it asks for another activity at every look."""
    careless.looks = getattr(careless, "looks", 0) + 1
    yield context.call_activity("double", careless.looks)
    yield context.call_activity("double", 0)


@app.orchestration_trigger(context_name="context")
def fickle(context: df.DurableOrchestrationContext):
    """Not deterministic in what it waits for, which no event of a history shows."""
    fickle.looks = getattr(fickle, "looks", 0) + 1
    yield context.wait_for_external_event(f"go-{fickle.looks}")


@app.orchestration_trigger(context_name="context")
def orphan(context: df.DurableOrchestrationContext):
    return (yield context.call_sub_orchestrator("nowhere", 1))


@app.orchestration_trigger(context_name="context")
def relay(context: df.DurableOrchestrationContext):
    """Begins anew once, then waits for an event."""
    if context.get_input():
        yield context.call_activity("double", 1)
        context.continue_as_new(False)
        return None
    return (yield context.wait_for_external_event("go"))


@app.orchestration_trigger(context_name="context")
def beyond(context: df.DurableOrchestrationContext):
    return (yield context.call_http("GET", "http://127.0.0.1:1/"))


@app.orchestration_trigger(context_name="context")
def fan(context: df.DurableOrchestrationContext):
    given = context.get_input()
    answers = yield context.task_all([context.call_activity("work", {"n": n, **given}) for n in range(given["count"])])
    return sorted(set(answers))


# -- activities --------------------------------------------------------------------------------------------------------


@app.activity_trigger(input_name="value")
def double(value: int) -> int:
    return value * 2


@app.activity_trigger(input_name="value")
def flaky(value: dict) -> dict:
    """Every third number succeeds only at the third try."""
    if value["n"] % 3 == 1 and value["try"] < 2:
        return {"ok": False, "retry_after": 1}
    return {"ok": True, "value": value["n"]}


@app.activity_trigger(input_name="value")
def raising(value: dict) -> str:
    raise KeyError("no such thing")


@app.activity_trigger(input_name="value")
def work(value: dict) -> int:
    """Which process did it, after some time; the first one that is told to die does."""
    note(f"{os.getpid()} {value['n']}")
    time.sleep(value.get("seconds", 0.0))
    marker = Path(os.environ.get("SAMPLE_NOTES", "/nowhere")) / "died"
    if value.get("dies") == value["n"] and not marker.exists():
        marker.touch()
        os._exit(9)
    return os.getpid()
