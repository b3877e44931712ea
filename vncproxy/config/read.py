"""Reading the options from files, flags and environment, by oslo.config's rules.

Every fault is a ``ConfigError`` of one line: what is wrong, where, and what to do.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_config import cfg
from typing_extensions import override

from vncproxy import __version__
from vncproxy.config import ignored as ignored_options
from vncproxy.config.options import FLAGS, OPTIONS, TOPICS
from vncproxy.config.settings import Settings
from vncproxy.config.topic import Topic

DEFAULT_FILES = (Path("/etc/vncproxy/vncproxy.conf"),)
_EMBEDDED_HOST = "127.0.0.1"


class ConfigError(Exception):
    """The configuration can't be used; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What the process was started with, to read the configuration by once more.

    Attributes:
        arguments: flags, ``--config-file`` and ``--config-dir`` among them.
        program: name of the command.
        log_path: the file that twistd's own flag names, or None.
    """

    arguments: tuple[str, ...]
    program: str
    log_path: str | None = None

    def read(self) -> Settings:
        """Return the settings; raises as ``read_settings`` does."""
        return read_settings(self.arguments, self.program)


def read_settings(arguments: Sequence[str], program: str) -> Settings:
    """Return the settings that these command-line arguments lead to.

    Args:
        arguments: flags, ``--config-file`` and ``--config-dir`` among them.
        program: name of the command, for its usage and error lines.

    Raises:
        ConfigError: a file can't be read, or an option's name or value is wrong.
        SystemExit: ``--help`` or ``--version`` was given, or an unknown flag.
    """
    conf = _parsed(arguments, program)
    _refuse_unknown_options(conf)
    if not _value(conf, "database", "connection"):
        _use_embedded_defaults(conf)
    values = {topic.name: _values(conf, topic) for topic in TOPICS}
    ignored = tuple(
        f"[DEFAULT] {option.dest} is not followed: {why}"
        for option, why in ignored_options.FLAGS
        if _value(conf, "DEFAULT", option.dest) not in (None, False, "")
    )
    return _checked(Settings(**values, sources=_sources(arguments), ignored=ignored))


class OptionFiles:
    """The options as they stand in files, whether or not they are ours.

    Args:
        arguments: as of ``read_settings``.
        program: the same.

    Raises:
        ConfigError: a file can't be read.
    """

    def __init__(self, arguments: Sequence[str], program: str) -> None:
        self._conf = _parsed(arguments, program)

    def names(self) -> Iterator[tuple[str, str]]:
        """Give the group and the name of each option, in the files' order."""
        for path in _files_read(self._conf):
            for section, options in _sections(path).items():
                group = section if section == "DEFAULT" else section.lower()
                yield from ((group, name) for name in options)

    def value(self, group: str, name: str) -> object:
        """Return the value of an option of ours.

        Raises:
            ConfigError: it is wrong.
        """
        return _value(self._conf, group, name)


class _Parser(cfg.ConfigOpts):
    """oslo.config's parser, which leaves the check of values to the one place that reports them."""

    @override
    def _validate_cli_options(self, namespace: object) -> None:
        """Do nothing: the original ends the process with a line that names no file."""


def _new_parser() -> cfg.ConfigOpts:
    conf = _Parser()
    for group, options in OPTIONS.items():
        for option in options:
            if option.dest in FLAGS.get(group, ()):
                conf.register_cli_opt(option, group=_oslo_group(group))
            else:
                conf.register_opt(option, group=_oslo_group(group))
    conf.register_cli_opts([option for option, _ in ignored_options.FLAGS])
    conf.register_opts(ignored_options.HOST_FACTS)
    conf.set_default("my_ip", _own_address())
    conf.set_default("host", socket.gethostname())
    return conf


def _own_address() -> str:
    """Return the address of the interface that the default route leaves by."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


def _parsed(arguments: Sequence[str], program: str) -> cfg.ConfigOpts:
    conf = _new_parser()
    _parse(conf, arguments, program)
    return conf


def _parse(conf: cfg.ConfigOpts, arguments: Sequence[str], program: str) -> None:
    default_files = [str(path) for path in DEFAULT_FILES if path.is_file()]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            conf(
                list(arguments),
                project="vncproxy",
                prog=program,
                version=__version__,
                usage=f"{program} [options]",
                default_config_files=default_files,
                default_config_dirs=[],
            )
    except SystemExit as stop:
        if not stop.code:  # --help, --version
            raise
        fault = said.getvalue().strip().rpartition("error: ")[2]
        raise ConfigError(f"{fault}; `{program} --help` lists the options") from stop
    except cfg.ConfigFilesNotFoundError as error:
        raise ConfigError(_files(error) + ": no such file; check --config-file") from error
    except cfg.ConfigFilesPermissionDeniedError as error:
        raise ConfigError(
            _files(error) + ": not readable by this user; check its owner and mode"
        ) from error
    except cfg.ConfigDirNotFoundError as error:
        raise ConfigError(f"{error.config_dir}: no such directory; check --config-dir") from error
    except cfg.ConfigFileParseError as error:
        raise ConfigError(" ".join(str(error).split())) from error
    except (cfg.Error, ValueError, OSError) as error:
        raise ConfigError(f"the configuration can't be read: {error}") from error


def _sources(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return, of these arguments, those that name files, in their order."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--config-file", "--config-dir"):
        named = f"{flag}={{}}".format
        parser.add_argument(flag, dest="sources", action="append", type=named)
    named_sources = parser.parse_known_args(list(arguments))[0].sources or []
    defaults = [f"--config-file={path}" for path in DEFAULT_FILES if path.is_file()]
    given_files = any(source.startswith("--config-file") for source in named_sources)
    return (*(() if given_files else defaults), *named_sources)


def _files(error: cfg.ConfigFilesNotFoundError | cfg.ConfigFilesPermissionDeniedError) -> str:
    return ", ".join(error.config_files)


def _refuse_unknown_options(conf: cfg.ConfigOpts) -> None:
    """Refuse a misspelt option in our own group; nova's groups hold many that we do not read."""
    known = {option.dest for option in OPTIONS["vncproxy"]}
    for path in _files_read(conf):
        for name in _sections(path).get("vncproxy", {}):
            if name not in known:
                likely = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {likely[0]}?" if likely else "see conf/vncproxy.conf"
                raise ConfigError(f"{path}: [vncproxy] {name}: no such option; {hint}")


def _sections(path: str) -> dict[str, dict[str, list[str]]]:
    sections: dict[str, dict[str, list[str]]] = {}
    cfg.ConfigParser(path, sections).parse()
    return sections


def _files_read(conf: cfg.ConfigOpts) -> list[str]:
    directories = [Path(directory) for directory in conf.config_dir or []]
    return [
        *(conf.config_file or []),
        *(str(path) for directory in directories for path in sorted(directory.glob("*.conf"))),
    ]


def _use_embedded_defaults(conf: cfg.ConfigOpts) -> None:
    """Without a database of nova's the gateway is for this machine, and knows its own page."""
    has_cert = Path(_value(conf, "DEFAULT", "cert")).is_file()
    scheme = "https" if has_cert or _value(conf, "vncproxy", "tls_certificates") else "http"
    for group, prefix, base_url, page in (
        ("vnc", "novncproxy", "novncproxy_base_url", "console"),
        ("serial_console", "serialproxy", "base_url", ""),
        ("spice", "html5proxy", "html5proxy_base_url", "spice_auto.html"),
    ):
        conf.set_default(f"{prefix}_host", _EMBEDDED_HOST, group=group)
        port = _value(conf, group, f"{prefix}_port")
        conf.set_default(base_url, f"{scheme}://{_EMBEDDED_HOST}:{port}/{page}", group=group)


def _values(conf: cfg.ConfigOpts, topic: Topic) -> Any:  # noqa: ANN401  the topic's dataclass
    return topic.values(
        **{option.dest: _value(conf, topic.group, option.dest) for option in topic.options}
    )


def _value(conf: cfg.ConfigOpts, group: str, name: str) -> Any:  # noqa: ANN401  any option's type
    try:
        value = conf[name] if group == "DEFAULT" else conf[group][name]
    except (cfg.ConfigFileValueError, cfg.ConfigSourceValueError) as error:
        raise ConfigError(_bad_value(group, name, error)) from error
    except (cfg.TemplateSubstitutionError, cfg.NoSuchOptError) as error:
        raise ConfigError(f"[{group}] {name}: {error}; write $$ for a plain $") from error
    return tuple(value) if isinstance(value, list) else value


def _bad_value(group: str, name: str, error: Exception) -> str:
    """Name file, option and fault; oslo.config tells the file nowhere but in its text."""
    source, _, reason = str(error).partition(" is not valid: ")
    detail = re.search(r"detail='([^']+)'", source)
    where = f"{detail[1]}: " if detail else ""
    return f"{where}[{group}] {name}: {reason or error}"


def _checked(settings: Settings) -> Settings:
    """Return the settings, if what spans several options fits together."""
    cert = settings.default.cert
    novas = any(front.is_novas for front in settings.served)
    if settings.default.ssl_only and not settings.tls and novas:
        raise ConfigError(f"[DEFAULT] ssl_only: SSL only and {cert} not found; set [DEFAULT] cert")
    if settings.watching.audit_required and not settings.watching.audit_log:
        raise ConfigError("[vncproxy] audit_required: there is no audit log; set audit_log")
    for option, directory in (
        ("[DEFAULT] web", settings.default.web),
        ("[vncproxy] spice_web", settings.fronts.spice_web),
        ("[vncproxy] xterm", settings.fronts.xterm),
    ):
        if directory and not Path(directory).is_dir():
            raise ConfigError(f"{option}: Can not find html/js files at {directory}.")
    return settings


def _oslo_group(group: str) -> str | None:
    return None if group == "DEFAULT" else group
