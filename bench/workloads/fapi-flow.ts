/**
 * The code flow as FAPI 2.0 has it: the request is pushed (RFC 9126), the client signs an assertion for each call (RFC 7523),
 * tokens are bound to a key by a proof (RFC 9449). Under the usual profile of each server, with a client that does all of it, so
 * that both do the same.
 */
import { randomUUID, sign } from 'node:crypto';
import { memberOf } from '../harness/connection.ts';
import { repeat } from '../harness/load.ts';
import { ISSUER } from '../harness/request.ts';
import { type ClientKey, makeKey, PHOTOS, REDIRECT } from '../servers/cast.ts';
import { requestsTo, type Workload } from '../servers/target.ts';
import { Browser, codeIn } from './browser.ts';
import { authorizationFields, PKCE } from './code-requests.ts';

const CLIENT = 'keyed';

export const fapiFlow: Workload = {
  name: 'fapi-flow',
  about:
    'POST /par, GET /authorize, POST /token with assertions and a DPoP proof: JWT access token, ID token, refresh token',
  ceiling:
    'verify the assertion, INSERT request and mark; SELECT session and request, INSERT grant and code; verify assertion and proof, SELECT code, UPDATE it and INSERT marks and refresh token; two ES256 signatures',
  servers: ['gatehouse', 'oidc-provider', 'ceiling'],
  async prepare(target, setting) {
    const { cast, connections } = setting;
    const requests = requestsTo(target, this.name);
    const pushForm = requests.form('/par');
    const push = (person: string) => {
      const fields = new URLSearchParams(authorizationFields({ client: CLIENT }, person)).toString();
      return () => pushForm(`${fields}&${assertion(cast.key)}`);
    };
    const pushes = cast.people
      .slice(0, connections)
      .map(({ username, id }) => push(target.kind === 'gatehouse' ? username : id));
    const cookies = new Array<string>(connections).fill('');
    await repeat(target.process.port, connections, (connection) =>
      signingIn(
        pushes[connection],
        (path) => new Browser(requests, path, cast.people[connection]?.username ?? ''),
        (browser) => {
          cookies[connection] = browser.cookie;
        },
      ),
    );
    const rest = `&${new URLSearchParams({ redirect_uri: REDIRECT, code_verifier: PKCE.verifier, resource: PHOTOS })}`;
    return (connection) => {
      const proofKey = makeKey('proof');
      const headers = { Cookie: cookies[connection] ?? '' };
      let step: 'push' | 'authorize' | 'redeem' = 'push';
      return {
        begin() {
          step = 'push';
          return (pushes[connection] ?? missing)();
        },
        answered(answer) {
          if (step === 'push') {
            const uri = memberOf(answer, 'request_uri');
            if (answer.status !== 201 || uri === undefined) return 'failed';
            step = 'authorize';
            return requests.get(pushedPath(uri), headers);
          }
          if (step === 'authorize') {
            const code = codeIn(answer);
            if (code === undefined) return 'failed';
            step = 'redeem';
            const form = requests.form('/token', { DPoP: proof(proofKey) });
            return form(`grant_type=authorization_code&code=${code}${rest}&${assertion(cast.key)}`);
          }
          const good = answer.status === 200 && answer.body.includes('"token_type":"DPoP"');
          return good && answer.body.includes('"id_token":"eyJ') ? 'done' : 'failed';
        },
      };
    };
  },
};

/** Pushes once and takes a browser through sign-in and consent with it. */
function signingIn(
  push: (() => Buffer) | undefined,
  open: (path: string) => Browser,
  onEnd: (browser: Browser) => void,
) {
  let browser: Browser | undefined;
  return {
    begin: push ?? missing,
    answered(answer: Parameters<Browser['answered']>[0]) {
      if (!browser) {
        const uri = memberOf(answer, 'request_uri');
        if (uri === undefined) return 'failed' as const;
        browser = open(pushedPath(uri));
        return browser.begin();
      }
      const next = browser.answered(answer);
      if (next === 'done') onEnd(browser);
      return next;
    },
  };
}

function missing(): never {
  throw new Error('There are fewer people than connections.');
}

function pushedPath(requestUri: string): string {
  return `/authorize?${new URLSearchParams({ client_id: CLIENT, request_uri: requestUri })}`;
}

function jws(key: ClientKey, header: object, claims: object): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const input = `${encode({ alg: 'ES256', ...header })}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

/** The fields by which the client authenticates: good for one request. */
function assertion(key: ClientKey): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: CLIENT, sub: CLIENT, aud: ISSUER, jti: randomUUID(), iat: now, exp: now + 60 };
  const type = 'urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer';
  return `client_assertion_type=${type}&client_assertion=${jws(key, { kid: key.publicJwk.kid }, claims)}`;
}

function proof(key: ClientKey): string {
  const { kid: _kid, ...jwk } = key.publicJwk;
  const claims = { jti: randomUUID(), htm: 'POST', htu: `${ISSUER}/token`, iat: Math.floor(Date.now() / 1000) };
  return jws(key, { typ: 'dpop+jwt', jwk }, claims);
}
