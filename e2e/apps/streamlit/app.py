"""A form that Python answers, over Streamlit's WebSocket."""

import streamlit as st

st.title("Hello Streamlit")
name = st.text_input("Name")
if name:
    st.write(f"Hello, {name}! Backwards you are {name[::-1]}.")
    st.write(f"Cookies: {', '.join(st.context.cookies) or 'none'}")
