"""A button that kills the app's process."""

import os

from h2o_wave import Q, app, main, ui  # noqa: F401


@app("/")
async def serve(q: Q) -> None:
    if q.args.crash:
        # Not an exception: Wave would catch it. This is what running out of memory looks like.
        os._exit(3)
    q.page["form"] = ui.form_card(
        box="1 1 4 3",
        items=[
            ui.text(f"I am process {os.getpid()}.", name="process"),
            ui.button(name="crash", label="Crash", primary=True),
            ui.button(name="refresh", label="Refresh"),
        ],
    )
    await q.page.save()
