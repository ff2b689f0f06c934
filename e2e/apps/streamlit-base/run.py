"""Starts Streamlit below the path that the store gives the instance."""

import os
import sys

from streamlit.web import cli

sys.argv = [
    "streamlit",
    "run",
    "app.py",
    "--server.address=127.0.0.1",
    f"--server.port={os.environ['PORT']}",
    f"--server.baseUrlPath={os.environ['H2O_WAVE_BASE_URL']}",
    "--server.headless=true",
    "--browser.gatherUsageStats=false",
]
sys.exit(cli.main())
