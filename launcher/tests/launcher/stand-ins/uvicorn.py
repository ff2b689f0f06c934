"""Stands in for uvicorn with a Wave app, from the app's folder: imports the app, registers, listens."""

import base64
import http.server
import importlib
import json
import os
import sys
import urllib.request

if __name__ == "__main__":
    module, _ = sys.argv[1].split(":")
    importlib.import_module(module)
    keys = os.environ["H2O_WAVE_ACCESS_KEY_ID"] + ":" + os.environ["H2O_WAVE_ACCESS_KEY_SECRET"]
    request = urllib.request.Request(
        os.environ["H2O_WAVE_ADDRESS"] + os.environ["H2O_WAVE_BASE_URL"],
        data=json.dumps({"register_app": {}}).encode(),
        headers={"Authorization": "Basic " + base64.b64encode(keys.encode()).decode()},
    )
    # No proxy of the machine is for us.
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)
    port = int(sys.argv[sys.argv.index("--port") + 1])
    http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler).serve_forever()
