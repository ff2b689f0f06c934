"""A form that Python answers, over a WebSocket."""

from fastapi import FastAPI, WebSocket
from fastapi.responses import HTMLResponse

PAGE = """<!doctype html>
<title>Hello FastAPI</title>
<h1>Hello FastAPI</h1>
<form><input name="name"><button>Greet</button></form>
<p id="answer"></p>
<script>
  const socket = new WebSocket("greetings")
  socket.onmessage = (event) => document.querySelector("#answer").textContent = event.data
  document.querySelector("form").onsubmit = (event) => {
    event.preventDefault()
    socket.send(event.target.name.value)
  }
</script>
"""

app = FastAPI()


@app.get("/")
def page() -> HTMLResponse:
    return HTMLResponse(PAGE)


@app.websocket("/greetings")
async def greet(socket: WebSocket) -> None:
    await socket.accept()
    async for name in socket.iter_text():
        cookies = ", ".join(socket.cookies) or "none"
        await socket.send_text(f"Hello, {name}! Backwards you are {name[::-1]}. Cookies: {cookies}")
