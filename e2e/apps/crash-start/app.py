"""Fails at import, as apps do that miss a setting."""

import os

from h2o_wave import Q, app, main  # noqa: F401

if "DATABASE_PASSWORD" not in os.environ:
    raise RuntimeError("the database password is missing")


@app("/")
async def serve(q: Q) -> None:
    await q.page.save()
