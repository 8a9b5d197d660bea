#!/usr/bin/env bash
# Registers the static clients of the OpenID Foundation's conformance suite and prints what its configuration form asks for.
# Usage: examples/certification/register.sh https://suite.example [alias]
set -euo pipefail
suite=${1:?the origin of the conformance suite}
alias=${2:-gatehouse}
at="$suite/test/a/$alias"
cd "$(dirname "$0")/../.."

create() { # name, more metadata
  npx gatehouse clients create --file - <<JSON
{
  "client_id": "conformance-$alias-$1",
  "client_name": "Conformance suite: $1",
  "redirect_uris": ["$at/callback"],
  "grant_types": ["authorization_code", "refresh_token"],
  "scope": "openid profile email address phone offline_access",
  "require_pkce": false,
  "post_logout_redirect_uris": ["$at/post_logout_redirect"]$2
}
JSON
}

create client ""
create client2 ""
create client-secret-post ', "token_endpoint_auth_method": "client_secret_post"'
create backchannel ", \"backchannel_logout_uri\": \"$at/backchannel_logout\", \"backchannel_logout_session_required\": true"
create frontchannel ", \"frontchannel_logout_uri\": \"$at/frontchannel_logout\", \"frontchannel_logout_session_required\": true"
