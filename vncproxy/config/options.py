"""Every option of every topic, by group.

Groups and names are nova's where nova has the option, so that one nova.conf serves both; our own
options stand in ``[vncproxy]``. ``conf/vncproxy.conf`` and ``docs/configuration.md`` are generated
from here (``make conf``).
"""

from __future__ import annotations

from oslo_config import cfg

from vncproxy.config.topic import Topic
from vncproxy.config.topics import (
    api,
    api_database,
    balancers,
    compute,
    console,
    consoleauth,
    database,
    default,
    embedded,
    fronts,
    keystone,
    limits,
    listening,
    messaging,
    openstack,
    processes,
    serial_console,
    sessions,
    spice,
    stopping,
    targets,
    times,
    tls,
    vnc,
    watching,
)

TOPICS: tuple[Topic, ...] = (
    default.TOPIC,
    console.TOPIC,
    consoleauth.TOPIC,
    database.TOPIC,
    api_database.TOPIC,
    messaging.TOPIC,
    messaging.LEVELS_TOPIC,
    vnc.TOPIC,
    serial_console.TOPIC,
    spice.TOPIC,
    fronts.TOPIC,
    listening.TOPIC,
    processes.TOPIC,
    embedded.TOPIC,
    tls.TOPIC,
    balancers.TOPIC,
    sessions.TOPIC,
    stopping.TOPIC,
    targets.TOPIC,
    limits.TOPIC,
    times.TOPIC,
    watching.TOPIC,
    compute.TOPIC,
    api.TOPIC,
    keystone.TOPIC,
    openstack.TOPIC,
)

OPTIONS: dict[str, list[cfg.Opt]] = {}
FLAGS: dict[str, tuple[str, ...]] = {}
for _topic in TOPICS:
    OPTIONS[_topic.group] = [*OPTIONS.get(_topic.group, []), *_topic.options]
    FLAGS[_topic.group] = (*FLAGS.get(_topic.group, ()), *_topic.flags)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options by group: what oslo.config's sample generator asks for."""
    return list(OPTIONS.items())
