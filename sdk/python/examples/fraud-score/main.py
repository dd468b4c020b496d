"""Scores requests from 0 to 100 by how much they look like those of a bot, and refuses the worst."""

import bext

MINUTE_MS = 60_000


@bext.on_request
async def score_request(ctx):
    signals = [*header_signals(ctx), *await velocity_signals(ctx)]
    score = min(100, sum(points for points, _ in signals))
    reasons = ",".join(reason for _, reason in signals)
    ctx.extensions.set("score", str(score))
    # Always set: a client must not be able to say its own score.
    ctx.request.set_header(bext.config["header"], str(score))
    if score < bext.config["threshold"]:
        return None
    bext.metric("refused", 1)
    bext.log.warn(f"refused {ctx.client_address}: {score} ({reasons})")
    return bext.respond(403, "This request looks automated.\n", {"cache-control": "no-store"})


def header_signals(ctx):
    """What browsers send and programs tend to forget: points and a reason each."""
    agent = ctx.headers.get("user-agent", "").lower()
    if agent == "":
        yield 40, "no-agent"
    elif agent.startswith(tuple(bext.config["tools"])):
        yield 30, "tool"
    if not ctx.headers.has("accept"):
        yield 15, "no-accept"
    if agent.startswith("mozilla/") and not ctx.headers.has("accept-language"):
        yield 25, "no-language"
    if ctx.path.lower().startswith(tuple(bext.config["traps"])):
        yield 60, "trap"


async def velocity_signals(ctx):
    """How often this client came within the minute that began with its first request."""
    count = await bext.aio.storage.incr(f"seen-{ctx.client_address}", ttl_ms=MINUTE_MS)
    allowed = bext.config["requests_per_minute"]
    if count > 4 * allowed:
        return [(80, "flood")]
    return [(40, "fast")] if count > allowed else []


bext.run(concurrency=256)
