"""Takes metadata out of JPEG and PNG images: of uploads, and of what the app sends."""

import bext

from images import strip


@bext.on_request
def strip_upload(ctx):
    if ctx.method in ("POST", "PUT", "PATCH") and is_image(ctx.headers):
        stripped = strip_logged(ctx.body.bytes())
        if stripped is not None:
            ctx.request.set_body(stripped)


@bext.on_response
def strip_download(ctx):
    # A part of an image (206) cannot be understood, and an unmodified one (304) is not sent.
    if ctx.response.status == 200 and ctx.method != "HEAD" and is_image(ctx.response.headers):
        stripped = strip_logged(ctx.response.body.bytes())
        if stripped is not None:
            ctx.response.set_body(stripped)


def is_image(headers):
    return headers.get("content-type", "").split(";")[0].strip().lower() in ("image/jpeg", "image/png")


def strip_logged(data):
    """None when nothing has to be changed."""
    try:
        stripped = strip(data)
    except ValueError as error:
        bext.log.warn(f"left an image of {len(data)} bytes as it is: {error}")
        return None
    if len(stripped) == len(data):
        return None
    bext.metric("bytes", len(data) - len(stripped))
    return stripped


bext.run()
