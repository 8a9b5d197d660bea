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

/** @returns what `gatehouse …` printed, or `undefined` when it refused */
function gatehouse(words, input) {
  try {
    const stdio = ['pipe', 'pipe', 'ignore'];
    return JSON.parse(execFileSync(process.execPath, [program, ...words, '--format', 'json'], { input, stdio }));
  } catch {
    return undefined;
  }
}

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
  const client =
    gatehouse(['clients', 'create', '--file', '-'], JSON.stringify(metadata)) ??
    gatehouse(['clients', 'rotate-secret', metadata.client_id]);
  if (client === undefined) throw new Error(`${metadata.client_id} could not be registered: is Gatehouse set up here?`);
  return { client_id: metadata.client_id, client_secret: client.client_secret };
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
