"""What replicas need of the environment of the command that starts them.

On a cluster they run in processes that have another environment: a key that was set beside the
command would otherwise let everyone in. The settings go to them as arguments of their constructors,
which Ray's dashboard does not show; of keys, the digests alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from serve_app.access import DIGESTS, NO_SECRETS, read_access_settings
from serve_app.slow_bodies import SETTING, read_body_seconds


def settings_for_replicas(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Those that are set, to be read like the environment; InputError for what can't be used."""
    access = read_access_settings(environment)
    read_body_seconds(environment)
    settings = {name: environment[name] for name in (*NO_SECRETS, SETTING) if name in environment}
    if access.keys:
        settings[DIGESTS] = ",".join(key.hex() for key in access.keys)
    return settings
