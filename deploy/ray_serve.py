"""The service on Ray Serve: the same application in several replicas, on one machine or many.

    pip install 's2f-edge[cpu,media,serve,c2pa]' 'ray[serve]'
    serve run deploy.ray_serve:app

It needs S2F_SERVE_SECRET in the environment, so that every replica can open the addresses that another
one's /predict gave out.
"""

from __future__ import annotations

import os
from typing import Any

from ray import serve

REPLICAS = 2
CORES = 1  # of one replica


def application() -> Any:
    """Made in each replica, which loads its own models: neither they nor the decoders can be sent."""
    from s2f_edge.service.app import create_app
    from s2f_edge.service.settings import ServiceSettings

    return create_app(ServiceSettings(concurrency=CORES, secret=os.environ["S2F_SERVE_SECRET"], hosts="*"))


deployment = serve.deployment(
    serve.ingress(application)(),
    name="s2f",
    num_replicas=REPLICAS,
    ray_actor_options={"num_cpus": CORES},
    max_ongoing_requests=CORES + 32,  # those worked on, and the queue; above it the service answers 503
    logging_config={"enable_access_log": False},  # it would write addresses of /predict
)
app = deployment.bind()
