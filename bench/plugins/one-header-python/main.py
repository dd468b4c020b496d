import bext


@bext.on_request
def on_request(ctx):
    if ctx.headers.get("x-plugin-key") == "block":
        return bext.respond(403)


bext.run()
