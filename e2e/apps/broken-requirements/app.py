"""Never runs: its requirements cannot be installed."""

from h2o_wave import Q, app, main  # noqa: F401


@app("/")
async def serve(q: Q) -> None:
    await q.page.save()
