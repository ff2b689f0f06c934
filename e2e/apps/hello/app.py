"""Hello Wave: a form that Python answers, a counter that Python drives, and a plot."""

import asyncio
import os
import weakref

from h2o_wave import Q, app, data, main, ui  # noqa: F401 (uvicorn serves `main`)

GREETING = os.environ.get("HELLO_GREETING", "Hello")
NAME = os.environ.get("H2O_CLOUD_APP_NAME", "hello")
VERSION = os.environ.get("H2O_CLOUD_APP_VERSION", "")
INSTANCE = os.environ.get("H2O_CLOUD_INSTANCE_ID", "this machine")
OWNER = os.environ.get("H2O_CLOUD_INSTANCE_OWNER", "nobody")

# The event loop keeps only weak references to tasks.
tickers: set[asyncio.Task] = set()


@app("/")
async def serve(q: Q) -> None:
    # A client is new after a page load, and also when the app itself was started again.
    if not q.client.ready:
        build(q)
        q.client.ready = True
        ticker = asyncio.create_task(tick(q.page, weakref.ref(q.client)))
        tickers.add(ticker)
        ticker.add_done_callback(tickers.discard)

    if q.args.greet:
        answer = greet(q.args.name)
        q.page["form"].items[2].text.content = answer
        q.page["letters"].data = letters(q.args.name)
        q.page["letters"].title = f"Letters of {q.args.name or 'Wave'}"
    await q.page.save()


def greet(name: str) -> str:
    name = (name or "").strip()
    if not name:
        return "Please tell me your name."
    return f"{GREETING}, {name}! Backwards you are {name[::-1]}, and 6 times 7 is {6 * 7}."


def letters(text: str):
    """How often each letter occurs, most frequent first."""
    text = [c for c in (text or "Wave").lower() if not c.isspace()]
    counts = sorted({c: text.count(c) for c in text}.items(), key=lambda pair: (-pair[1], pair[0]))
    return data("letter count", rows=counts[:12], pack=True)


async def tick(page, client) -> None:
    """Counts seconds until the client is gone. Holding it only weakly is how that is noticed."""
    seconds = 0
    while client() is not None:
        page["clock"].value = str(seconds)
        await page.save()
        await asyncio.sleep(1)
        seconds += 1


def build(q: Q) -> None:
    q.page.drop()
    q.page["meta"] = ui.meta_card(
        box="",
        title="Hello Wave",
        theme="hello",
        themes=[
            ui.theme(
                name="hello", primary="#0c548c", text="#16214c", card="#ffffff", page="#eaf3f9"
            )
        ],
        layouts=[
            ui.layout(
                breakpoint="xs",
                width="1000px",
                zones=[
                    ui.zone("top"),
                    ui.zone(
                        "middle",
                        direction=ui.ZoneDirection.ROW,
                        zones=[
                            ui.zone("left", size="60%"),
                            ui.zone("right", size="40%"),
                        ],
                    ),
                    ui.zone("bottom"),
                ],
            )
        ],
    )
    q.page["header"] = ui.header_card(
        box="top",
        title="Hello Wave",
        subtitle=f"{NAME} {VERSION} on {INSTANCE}, run by {OWNER}",
        icon="ChatInviteFriend",
    )
    q.page["form"] = ui.form_card(
        box="left",
        items=[
            ui.textbox(name="name", label="Your name", placeholder="Ada"),
            ui.button(name="greet", label="Say hello", primary=True),
            ui.text("I will answer here.", name="answer"),
        ],
    )
    q.page["clock"] = ui.small_stat_card(box="right", title="Seconds since you came", value="0")
    q.page["letters"] = ui.plot_card(
        box="bottom",
        title="Letters of Wave",
        data=letters("Wave"),
        plot=ui.plot(
            [ui.mark(type="interval", x="=letter", y="=count", y_min=0, color="$themePrimary")]
        ),
    )
    # Header names only: their values are nobody's business.
    names = sorted(name.lower() for name in q.headers or {})
    cookies = sorted(
        part.split("=")[0].strip()
        for name, lines in (q.headers or {}).items()
        if name.lower() == "cookie"
        for line in lines
        for part in line.split(";")
    )
    q.page["facts"] = ui.form_card(
        box="bottom",
        items=[
            ui.expander(
                name="facts",
                label="What this app knows about your visit",
                items=[
                    ui.text(f"Headers: {', '.join(names) or 'none'}", name="headers"),
                    ui.text(f"Cookies: {', '.join(cookies) or 'none'}", name="cookies"),
                ],
            )
        ],
    )
