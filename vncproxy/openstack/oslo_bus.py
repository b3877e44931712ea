"""nova-compute on the message bus, through oslo.messaging: plain, blocking calls.

This module alone imports oslo.messaging, which comes with the extra ``openstack``.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg
from typing_extensions import override

with warnings.catch_warnings():  # it imports eventlet, which nothing here uses
    warnings.simplefilter("ignore")
    import oslo_messaging
    from amqp import spec
    from oslo_messaging._drivers.impl_rabbit import Connection
    from oslo_messaging.rpc.client import RemoteError

from vncproxy.errors import InstanceGone, PortCheckFailed, PortCheckUnavailable
from vncproxy.openstack.bus import NoAnswer, NobodyListens, Question
from vncproxy.openstack.request_context import new_request_context
from vncproxy.reason import passwords_in, reason_of

_GONE = frozenset({"InstanceNotFound"})
_NOT_ITS_CONSOLE = frozenset({"InstanceNotReady", "ConsoleTypeInvalid"})


class _MessagingConf(cfg.ConfigOpts):
    """What oslo.messaging reads; some of its options it registers only on the global object."""

    @override
    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except cfg.NoSuchOptError:
            return getattr(cfg.CONF, name)


class _Connection(Connection):
    """A connection on which an answer to one question is never taken for the next one's.

    RabbitMQ confirms also what it returns as undeliverable, right behind the return. oslo.messaging
    leaves that confirmation unread, and takes it for the confirmation of whatever it sends next
    on that connection; the next return is then read late, or as another question's.
    """

    @override
    def on_return(
        self, exception: Exception, exchange: str, routing_key: str, message: object
    ) -> None:
        self.channel.wait([spec.Basic.Ack, spec.Basic.Nack])
        super().on_return(exception, exchange, routing_key, message)


class OsloBus:
    """One cell's message bus (see ``openstack.bus.Bus``).

    All calls share one connection for answers, and as few for questions as are made at once.

    Args:
        sources: ``--config-file`` and ``--config-dir`` arguments, whose files hold
            ``[oslo_messaging_rabbit]`` and ``control_exchange``.
        transport_url: of the bus.
        timeout_s: seconds that nova-compute may take to answer.

    Raises:
        PortCheckUnavailable: the URL is none that oslo.messaging can use.
    """

    def __init__(self, sources: Sequence[str], transport_url: str, timeout_s: float) -> None:
        self._secrets = passwords_in(transport_url)
        try:
            self._transport, self._client = _client(sources, transport_url, timeout_s)
        except PortCheckUnavailable:
            raise
        except Exception as error:
            raise self._bus_failed(error) from error
        self._timeout_s = timeout_s
        self._reached = False
        for name in ("oslo_messaging", "oslo.messaging", "oslo_service", "amqp", "kombu"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # each failure is told once, by us

    def ask(self, topic: str, version: str, question: Question) -> None:
        """Return if nova-compute says yes."""
        instance = question.instance
        where = f"{topic}.{instance.host} about the machine {instance.uuid}"
        self.reach()
        try:
            call = self._client.prepare(topic=topic, server=instance.host, version=version)
            answer = call.call(
                new_request_context(),
                "validate_console_port",
                instance=instance.primitive(),
                port=str(question.port),
                console_type=question.console_type,
            )
        except oslo_messaging.MessageUndeliverable as error:
            raise NobodyListens(where) from error
        except oslo_messaging.MessagingTimeout as error:
            raise NoAnswer(
                f"nova-compute ({where}) did not answer in {self._timeout_s:g} s"
            ) from error
        except RemoteError as error:
            raise _refusal_of(where, error.exc_type) from error
        except Exception as error:  # of kombu and amqp too: a broker that refuses our login
            kind = type(error)
            if kind.__module__ == "builtins" and not isinstance(error, OSError):
                # Raised at the compute; its text is a traceback of there.
                raise _refusal_of(where, kind.__name__) from error
            raise self._bus_failed(error) from error
        if answer is not True:
            raise _answered(where, answer)

    def reach(self) -> None:
        """Raise ``PortCheckUnavailable``, in time, if no broker could ever be reached yet.

        Before its first call oslo.messaging makes a queue for answers, and for that it tries for
        ever to reach a broker.
        """
        if self._reached:
            return
        try:
            self._client.prepare(topic="vncproxy").cast({}, "reach")
        except oslo_messaging.MessageUndeliverable:  # it was for nobody
            self._reached = True
        except Exception as error:  # of oslo.messaging, kombu, amqp or Python
            raise self._bus_failed(error) from error

    def close(self) -> None:
        """Close the connections; may wait for a broker that has gone."""
        try:
            self._transport.cleanup()
        except Exception as error:
            raise self._bus_failed(error) from error

    def _bus_failed(self, error: Exception) -> PortCheckUnavailable:
        reason = reason_of(error, self._secrets)
        return PortCheckUnavailable(f"the message bus failed: {reason}")


def _client(
    sources: Sequence[str], transport_url: str, timeout_s: float
) -> tuple[oslo_messaging.RPCTransport, Any]:
    """Return a transport, not connected yet, and the client that asks by it."""
    conf = _MessagingConf()
    conf(list(sources), project="nova", default_config_files=[], default_config_dirs=[])
    oslo_messaging.set_transport_defaults("nova")
    transport = _transport(conf, transport_url)
    hosts = oslo_messaging.TransportURL.parse(conf, transport_url).hosts
    # Mandatory: the broker returns at once what nobody would ever read. The retries are for a
    # connection that broke while nobody used it, and for the next broker of a list.
    client = oslo_messaging.get_rpc_client(
        transport,
        oslo_messaging.Target(topic="compute"),
        timeout=timeout_s,
        retry=max(1, len(hosts)),
        transport_options=oslo_messaging.TransportOptions(at_least_once=True),
    )
    return transport, client


def _transport(conf: cfg.ConfigOpts, url: str) -> oslo_messaging.RPCTransport:
    try:
        transport: oslo_messaging.RPCTransport = oslo_messaging.get_rpc_transport(conf, url=url)
    except oslo_messaging.DriverLoadFailure as error:
        raise PortCheckUnavailable(f"oslo.messaging has no driver {error.driver}") from error
    except (oslo_messaging.MessagingException, ValueError) as error:  # which may show a password
        raise PortCheckUnavailable(
            "not a URL of a message bus; write rabbit://user:password@host:5672/virtual_host"
        ) from error
    # A private, watched by a test; other drivers than RabbitMQ's have no such pool.
    pool = getattr(transport._driver, "_connection_pool", None)
    if pool is not None and pool.connection_cls is Connection:
        pool.connection_cls = _Connection
    return transport


def _refusal_of(where: str, exc_type: str) -> Exception:
    if exc_type in _GONE:
        return InstanceGone(f"nova-compute ({where}) does not know it")
    if exc_type in _NOT_ITS_CONSOLE:
        return PortCheckFailed(f"nova-compute ({where}) says {exc_type}")
    return PortCheckUnavailable(f"nova-compute ({where}) failed with {exc_type[:100]}")


def _answered(where: str, answer: object) -> Exception:
    if answer is False or answer is None:
        return PortCheckFailed(f"nova-compute ({where}) says that the port is not its console's")
    return PortCheckUnavailable(
        f"nova-compute ({where}) answered with a {type(answer).__name__}, not with true or false"
    )
