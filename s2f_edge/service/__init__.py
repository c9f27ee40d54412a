"""The service: `s2f-edge serve`, or `create_app(ServiceSettings(...))` of `s2f_edge.service.app` in an ASGI server."""
