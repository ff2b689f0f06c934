"""A form that Python answers, by Dash's callbacks."""

import os

from dash import Dash, Input, Output, dcc, html
from flask import request

# In DOMAIN mode there is no such variable, and the path is /.
app = Dash(__name__, title="Hello Dash", url_base_pathname=os.environ.get("H2O_WAVE_BASE_URL", "/"))
app.layout = html.Div([html.H1("Hello Dash"), dcc.Input(id="name", type="text"), html.P(id="answer")])


@app.callback(Output("answer", "children"), Input("name", "value"))
def greet(name):
    return f"Hello, {name}! Backwards you are {name[::-1]}. Cookies: {', '.join(request.cookies) or 'none'}" if name else ""


app.run(host="127.0.0.1", port=int(os.environ["PORT"]))
