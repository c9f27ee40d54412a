"""The service: `s2f-edge serve`, or `create_app(Settings(...))` of `s2f_edge.service.app` under any ASGI server."""
