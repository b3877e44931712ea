"""The table of console tokens: nova's ``console_auth_tokens``, column by column.

Nova's own database already has it; the embedded database is given the same one, and beside it a
table of our own.
"""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

CONSOLE_AUTH_TOKENS = Table(
    "console_auth_tokens",
    METADATA,
    Column("created_at", DateTime),  # UTC
    Column("updated_at", DateTime),  # UTC
    Column("id", Integer, primary_key=True),
    Column("token_hash", String(255), nullable=False, unique=True),  # hex SHA-256
    Column("console_type", String(255), nullable=False),
    Column("host", String(255), nullable=False),
    Column("port", Integer, nullable=False),
    # Only SPICE has one. Nova's databases before 31.0.0 lack the column: never select it.
    Column("tls_port", Integer),
    Column("internal_access_path", String(255)),  # for an HTTP CONNECT on the target
    Column("instance_uuid", String(36), nullable=False),
    Column("expires", Integer, nullable=False),  # Unix seconds
    Column("access_url_base", String(255)),  # the URL at issue, without token
    Index("console_auth_tokens_instance_uuid_idx", "instance_uuid"),
    Index("console_auth_tokens_host_expires_idx", "host", "expires"),
    Index("console_auth_tokens_token_hash_instance_uuid_idx", "token_hash", "instance_uuid"),
)

# Ours. A nova database does not have it, unless `vncproxy database create` was run there.
TOKEN_CREDENTIALS = Table(
    "vncproxy_token_credentials",
    METADATA,
    Column("token_hash", String(255), primary_key=True),
    Column("sealed", Text, nullable=False),  # see tokens.sealed
)

# Ours. A row says that the token opens its console once: written when the token is issued so, or,
# with `[vncproxy] single_use`, when it is used.
TOKEN_USES = Table(
    "vncproxy_token_uses",
    METADATA,
    Column("token_hash", String(255), primary_key=True),
    Column("expires", Integer, nullable=False, index=True),  # the token's, in Unix seconds
    Column("first_used", Integer),  # Unix seconds; NULL while unused
    Column("client", String(255)),  # address of the first use
    Column("binding", String(64)),  # hex SHA-256 of the secret that the first user's browser keeps
    Column("running", Integer, nullable=False, default=0),  # sessions that are open now
    Column("ended", Integer),  # Unix seconds; when a session of the token ended last
)
