"""The safe front door for voice-AI agents on any WSGI server."""
