#!/usr/bin/env node
/**
 * Registers the static clients of the OpenID Foundation's conformance suite with `gatehouse clients`, and prints the
 * configuration that the suite's form asks for, one for each kind of plan. Run again, it gives the same clients new secrets.
 *
 * Usage: node examples/certification/register.mjs https://suite.example [alias] [issuer]
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const [suite, alias = 'gatehouse', issuer = 'https://localhost:3000'] = process.argv.slice(2);
if (suite === undefined) {
  console.error('Usage: node examples/certification/register.mjs https://suite.example [alias] [issuer]');
  process.exit(2);
}
const at = `${suite}/test/a/${alias}`;
const program = fileURLToPath(new URL('../../bin/gatehouse.js', import.meta.url));

/** @returns what `gatehouse …` printed; when it refuses, it has said why, and that is the end */
function gatehouse(words, input) {
  try {
    const stdio = ['pipe', 'pipe', 'inherit'];
    return JSON.parse(execFileSync(process.execPath, [program, ...words, '--format', 'json'], { input, stdio }));
  } catch {
    console.error(`\`gatehouse ${words.join(' ')}\` did not work: is Gatehouse set up here?`);
    process.exit(1);
  }
}

const known = new Set(
  gatehouse(['clients', 'list', '--after', `conformance-${alias}`, '--limit', '100']).map((client) => client.client_id),
);

function register(name, more = {}) {
  const metadata = {
    client_id: `conformance-${alias}-${name}`,
    client_name: `Conformance suite: ${name}`,
    redirect_uris: [`${at}/callback`],
    grant_types: ['authorization_code', 'refresh_token'],
    scope: 'openid profile email address phone offline_access',
    // The suite's plans for OpenID Connect send no code challenge.
    require_pkce: false,
    post_logout_redirect_uris: [`${at}/post_logout_redirect`],
    ...more,
  };
  const { client_id, client_secret } = known.has(metadata.client_id)
    ? gatehouse(['clients', 'rotate-secret', metadata.client_id])
    : gatehouse(['clients', 'create', '--file', '-'], JSON.stringify(metadata));
  return { client_id, client_secret };
}

const server = { discoveryUrl: `${issuer}/.well-known/openid-configuration` };
const form = (client, more = {}) => ({ alias, server, client, ...more });

const plans = {
  'oidcc-basic, oidcc-formpost-basic, oidcc-rp-initiated-logout, oidcc-session-management': form(register('client'), {
    client2: register('client2'),
    client_secret_post: register('client-secret-post', { token_endpoint_auth_method: 'client_secret_post' }),
  }),
  'oidcc-config': { alias, server },
  'oidcc-backchannel-rp-initiated-logout': form(
    register('backchannel', {
      backchannel_logout_uri: `${at}/backchannel_logout`,
      backchannel_logout_session_required: true,
    }),
  ),
  'oidcc-frontchannel-rp-initiated-logout': form(
    register('frontchannel', {
      frontchannel_logout_uri: `${at}/frontchannel_logout`,
      frontchannel_logout_session_required: true,
    }),
  ),
};
console.log(JSON.stringify(plans, undefined, 2));
