/** The code flow in requests: RFC 6749 §4.1 with PKCE, OpenID Connect Core §3.1. Shared by all workloads that need a person's tokens. */
import { createHash, randomBytes } from 'node:crypto';
import { type Answer, memberOf } from '../harness/connection.ts';
import { repeat, type Script } from '../harness/load.ts';
import { basic, type Fields } from '../harness/request.ts';
import { type Cast, PHOTOS, REDIRECT } from '../servers/cast.ts';
import { requestsTo, type Setting, type Target } from '../servers/target.ts';
import { Browser, codeIn } from './browser.ts';

export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string;
}

export interface FlowOptions {
  readonly client: string;
  /** With `openid` alone the access token is for /userinfo, and opaque. */
  readonly scope?: 'openid photos.read' | 'openid';
}

const VERIFIER = randomBytes(32).toString('base64url');
const CHALLENGE = createHash('sha256').update(VERIFIER).digest('base64url');
/** One for all: no server looks at a verifier twice, and the generator is not what is measured. */
export const PKCE = { verifier: VERIFIER, challenge: CHALLENGE };

/** @param person whom a server that asks for no password takes this browser to be */
export function authorizationFields({ client, scope = 'openid photos.read' }: FlowOptions, person: string): Fields {
  return {
    response_type: 'code',
    client_id: client,
    redirect_uri: REDIRECT,
    scope,
    ...(scope === 'openid photos.read' && { resource: PHOTOS }),
    state: 'af0ifjsldkj',
    nonce: 'n-0S6_WzA2Mj',
    code_challenge: PKCE.challenge,
    code_challenge_method: 'S256',
    login_hint: person,
  };
}

/** How a client says who it is at the token endpoint: a header, or a field before the others. */
export function authenticationOf({ secrets }: Cast, client: string) {
  const secret = secrets.get(client);
  return secret === undefined
    ? { headers: {}, field: `client_id=${client}&` }
    : { headers: basic({ id: client, secret }), field: '' };
}

/** What follows the code in a token request. */
export function redemption(scope: FlowOptions['scope']): string {
  const resource = scope === 'openid' ? {} : { resource: PHOTOS };
  const rest = new URLSearchParams({ redirect_uri: REDIRECT, code_verifier: PKCE.verifier, ...resource });
  return `&${rest}`;
}

/** Signs the person of each connection in at a server, and has them agree to what the client asks for. */
export async function signedInBrowsers(
  target: Target,
  workload: string,
  { cast, connections }: Setting,
  flow: FlowOptions,
): Promise<Browser[]> {
  const requests = requestsTo(target, workload);
  const browsers = Array.from({ length: connections }, (_, connection) => {
    const person = cast.people[connection];
    if (!person) throw new Error('There are fewer people than connections.');
    const hint = target.kind === 'gatehouse' ? person.username : person.id;
    const query = new URLSearchParams(authorizationFields(flow, hint));
    return new Browser(requests, `/authorize?${query}`, person.username);
  });
  await repeat(target.process.port, browsers.length, (index) => browsers[index] ?? impossible());
  return browsers;
}

export function impossible(): never {
  throw new Error('A browser too many.');
}

/**
 * The whole flow of a browser that is signed in, to a client that redeems the code.
 * @param onTokens told of each token response
 */
export function codeFlow(
  target: Target,
  workload: string,
  { cast }: Setting,
  flow: FlowOptions,
  browser: Browser,
  onTokens?: (answer: Answer) => void,
): Script {
  const requests = requestsTo(target, workload);
  const authorize = browser.begin();
  const { headers, field } = authenticationOf(cast, flow.client);
  const form = requests.form('/token', headers);
  const after = redemption(flow.scope);
  // Those for /userinfo alone are opaque at all servers.
  const accessToken = flow.scope === 'openid' ? '"access_token":"' : '"access_token":"eyJ';
  const expected = [accessToken, '"id_token":"eyJ', '"refresh_token":"'];
  let asking: 'code' | 'tokens' = 'code';
  return {
    begin() {
      asking = 'code';
      return authorize;
    },
    answered(answer) {
      if (asking === 'code') {
        const code = codeIn(answer);
        if (code === undefined) return 'failed';
        asking = 'tokens';
        return form(`${field}grant_type=authorization_code&code=${code}${after}`);
      }
      const { status, body } = answer;
      if (status !== 200 || !expected.every((part) => body.includes(part))) return 'failed';
      onTokens?.(answer);
      return 'done';
    },
  };
}

/** Tokens of people, got before anything is measured. */
export async function tokensOfPeople(
  target: Target,
  workload: string,
  setting: Setting,
  flow: FlowOptions,
  count: number,
): Promise<Tokens[]> {
  const browsers = await signedInBrowsers(target, workload, setting, flow);
  const tokens: Tokens[] = [];
  await repeat(target.process.port, count, (index) => {
    const browser = browsers[index % browsers.length] ?? impossible();
    return codeFlow(target, workload, setting, flow, browser, (answer) => {
      const accessToken = memberOf(answer, 'access_token') ?? '';
      tokens.push({ accessToken, refreshToken: memberOf(answer, 'refresh_token') ?? '' });
    });
  });
  return tokens;
}
