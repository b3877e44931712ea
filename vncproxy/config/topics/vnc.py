"""The noVNC listener, and security towards VNC servers."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg, types

from vncproxy.config.topic import Topic

AUTH_SCHEMES = (
    *("none", "vnc", "vencrypt"),
    *("x509none", "x509vnc", "x509plain"),
    *("tlsnone", "tlsvnc", "tlsplain"),
)


@dataclass(frozen=True, slots=True)
class VncGroup:
    """The values of these options of ``[vnc]``."""

    enabled: bool
    novncproxy_host: str
    novncproxy_port: int
    novncproxy_base_url: str
    auth_schemes: tuple[str, ...]
    vencrypt_ca_certs: str | None
    vencrypt_client_cert: str | None
    vencrypt_client_key: str | None


OPTIONS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "enabled",
        default=True,
        deprecated_name="vnc_enabled",
        deprecated_group="DEFAULT",
        help="Whether the machines have VNC consoles; then `[vncproxy] consoles` has novnc among "
        "its defaults.",
    ),
    cfg.StrOpt(
        "novncproxy_host",
        default="0.0.0.0",  # noqa: S104  nova's default
        deprecated_group="DEFAULT",
        help="Address to listen on. With the embedded database the default is 127.0.0.1.",
    ),
    cfg.PortOpt(
        "novncproxy_port", default=6080, deprecated_group="DEFAULT", help="Port to listen on."
    ),
    cfg.StrOpt(
        "novncproxy_base_url",
        default="http://127.0.0.1:6080/vnc_auto.html",
        deprecated_group="DEFAULT",
        help="URL of the console page, as browsers reach it; tokens are added to it. With the "
        "embedded database the default is the gateway's own page on 127.0.0.1, /console.",
    ),
    cfg.ListOpt(
        "auth_schemes",
        item_type=types.String(choices=list(AUTH_SCHEMES)),
        default=["none"],
        help="RFB security accepted from VNC servers, the most wanted first: none, vnc (a "
        "password), vencrypt (TLS with certificates: x509none, x509vnc, x509plain, which can be "
        "named singly), and, only where they are named, tlsnone, tlsvnc, tlsplain, whose "
        "anonymous TLS can be intercepted.",
    ),
    cfg.StrOpt(
        "vencrypt_ca_certs",
        help="PEM file of the CAs that VNC servers' certificates must come from.",
    ),
    cfg.StrOpt(
        "vencrypt_client_cert",
        help="PEM file of the certificate shown to VNC servers that ask for one.",
    ),
    cfg.StrOpt("vencrypt_client_key", help="PEM file of that certificate's private key."),
]

TOPIC = Topic(
    "vnc",
    "vnc",
    OPTIONS,
    VncGroup,
    flags=(
        "novncproxy_host",
        "novncproxy_port",
        "auth_schemes",
        "vencrypt_ca_certs",
        "vencrypt_client_cert",
        "vencrypt_client_key",
    ),
)
