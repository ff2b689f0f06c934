"""A form that Python answers, by Gradio's queue of server-sent events."""

import os

import gradio as gr


def greet(name, request: gr.Request):
    for length in range(1, len(name) + 1):
        yield f"Hello, {name[:length]}! Backwards you are {name[:length][::-1]}."
    yield f"Hello, {name}! Backwards you are {name[::-1]}. Cookies: {', '.join(request.cookies) or 'none'}"


with gr.Blocks(title="Hello Gradio") as page:
    gr.Markdown("# Hello Gradio")
    name = gr.Textbox(label="Name", elem_id="name")
    answer = gr.Markdown(elem_id="answer")
    gr.Button("Greet", elem_id="greet").click(greet, name, answer)

page.launch(server_name="127.0.0.1", server_port=int(os.environ["PORT"]))
