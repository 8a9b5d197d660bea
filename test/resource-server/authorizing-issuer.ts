/**
 * The foreign issuer with a user who allows everything: what the example applications need of an authorization server.
 * It is strict where a client could be wrong (PKCE, client authentication, one-time codes and refresh tokens, tokens that are
 * exchanged by another API than they are for) and has no pages.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { compactVerify, importJWK } from 'jose';
import { ForeignIssuer, makeKey } from './foreign-issuer.ts';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

interface Granted {
  readonly clientId: string;
  readonly scope: string;
  readonly resource: string;
  readonly sub: string;
  readonly nonce: string | undefined;
  /** Of an exchanged token (RFC 8693 §4.1): who acts, and what the first token said. */
  readonly story?: Record<string, unknown>;
}

/** What happened at the issuer, for a test to look at. */
export interface AuthorizingIssuer {
  readonly issuer: ForeignIssuer;
  readonly secrets: Readonly<Record<string, string>>;
  /** Every /authorize request. */
  readonly authorizations: URLSearchParams[];
  /** Every /token request. */
  readonly grants: URLSearchParams[];
  readonly revoked: string[];
  /** Seconds that the next access tokens live. */
  lifetime: number;
  /** An error that /authorize answers with. */
  refusal: string | undefined;
  /** Refresh tokens that are good now; clearing it ends every sign-in. */
  readonly refreshTokens: Map<string, Granted>;
}

/**
 * @param opaqueResource the API whose tokens are opaque; all others get JWTs
 * @param apis the client that each API is
 */
export async function startAuthorizingIssuer(
  opaqueResource: string,
  apis: Readonly<Record<string, string>>,
): Promise<AuthorizingIssuer> {
  const issuer = await ForeignIssuer.start();
  issuer.metadata = { token_endpoint: `${issuer.issuer}/token` };
  const idTokenKey = await makeKey('RS256');
  issuer.keys.push(idTokenKey);
  const state: AuthorizingIssuer = {
    issuer,
    secrets: {
      'photos-web': 's1+/=',
      'photos-api': 's2',
      'photos-batch': 's3',
      'photos:api': issuer.client.clientSecret,
    },
    authorizations: [],
    grants: [],
    revoked: [],
    lifetime: 300,
    refusal: undefined,
    refreshTokens: new Map(),
  };
  const codes = new Map<string, Granted & { readonly challenge: string; readonly redirectUri: string }>();

  issuer.endpoints.set('/.well-known/openid-configuration', (_request, response) =>
    json(response, 200, {
      issuer: issuer.issuer,
      authorization_endpoint: `${issuer.issuer}/authorize`,
      token_endpoint: `${issuer.issuer}/token`,
      userinfo_endpoint: `${issuer.issuer}/userinfo`,
      revocation_endpoint: `${issuer.issuer}/revoke`,
      end_session_endpoint: `${issuer.issuer}/logout`,
      jwks_uri: `${issuer.issuer}/jwks`,
      authorization_response_iss_parameter_supported: true,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
    }),
  );

  issuer.endpoints.set('/authorize', (request, response) => {
    const asked = new URL(request.url ?? '', issuer.issuer).searchParams;
    state.authorizations.push(asked);
    const text = (name: string) => asked.get(name) ?? '';
    const target = new URL(text('redirect_uri'));
    target.searchParams.set('state', text('state'));
    target.searchParams.set('iss', issuer.issuer);
    if (state.refusal === undefined) {
      const code = randomUUID();
      codes.set(code, {
        clientId: text('client_id'),
        scope: text('scope'),
        resource: text('resource'),
        sub: 'alice',
        nonce: asked.get('nonce') ?? undefined,
        challenge: text('code_challenge_method') === 'S256' ? text('code_challenge') : '',
        redirectUri: text('redirect_uri'),
      });
      target.searchParams.set('code', code);
    } else target.searchParams.set('error', state.refusal);
    response.writeHead(303, { location: target.href }).end();
  });

  issuer.endpoints.set('/token', async (request, response) => {
    const asked = await form(request);
    state.grants.push(asked);
    const clientId = clientOf(request, asked, state.secrets);
    if (clientId === undefined) return json(response, 401, { error: 'invalid_client' });
    const isExchange = asked.get('grant_type') === EXCHANGE;
    const granted = isExchange ? await verifyExchange(asked, clientId) : verify(asked, clientId);
    if (granted === undefined) return json(response, 400, { error: isExchange ? 'invalid_request' : 'invalid_grant' });

    const isUser = granted.sub !== clientId && !isExchange;
    const refreshToken = randomUUID();
    if (isUser) state.refreshTokens.set(refreshToken, granted);
    json(response, 200, {
      access_token: await accessToken(granted),
      token_type: 'Bearer',
      expires_in: state.lifetime,
      scope: granted.scope,
      ...(isUser ? { refresh_token: refreshToken } : {}),
      ...(isExchange ? { issued_token_type: asked.get('requested_token_type') } : {}),
      ...(granted.scope.split(' ').includes('openid') ? { id_token: await idToken(granted) } : {}),
    });
  });

  function verify(asked: URLSearchParams, clientId: string): Granted | undefined {
    const [scope, resource] = [asked.get('scope') ?? '', asked.get('resource') ?? ''];
    if (asked.get('grant_type') === 'client_credentials')
      return { clientId, scope, resource, sub: clientId, nonce: undefined };
    if (asked.get('grant_type') === 'refresh_token') {
      const refreshToken = asked.get('refresh_token') ?? '';
      const granted = state.refreshTokens.get(refreshToken);
      state.refreshTokens.delete(refreshToken);
      return granted?.clientId === clientId ? granted : undefined;
    }
    const code = codes.get(asked.get('code') ?? '');
    codes.delete(asked.get('code') ?? '');
    const challenge = createHash('sha256')
      .update(asked.get('code_verifier') ?? '')
      .digest('base64url');
    const fits =
      code?.clientId === clientId && code.challenge === challenge && code.redirectUri === asked.get('redirect_uri');
    return fits ? code : undefined;
  }

  /** RFC 8693 §2: a token of ours that is for the API which asks. */
  async function verifyExchange(asked: URLSearchParams, clientId: string): Promise<Granted | undefined> {
    const text = asked.get('subject_token') ?? '';
    const known = issuer.introspected.get(text) ?? (await signedClaims(text));
    if (known === undefined || apis[String(known.aud)] !== clientId || Number(known.exp) * 1000 <= Date.now())
      return undefined;
    const { sub, act, txn, origin, jti, iat, client_id } = known;
    return {
      clientId,
      scope: asked.get('scope') ?? '',
      resource: asked.get('resource') ?? '',
      sub: String(sub),
      nonce: undefined,
      story: {
        act: { sub: clientId, ...(act ? { act } : {}) },
        txn: txn ?? jti,
        origin: origin ?? { client_id, jti, iat, grant_type: 'authorization_code' },
      },
    };
  }

  async function signedClaims(text: string): Promise<Record<string, unknown> | undefined> {
    for (const key of issuer.keys) {
      const verified = await importJWK(key.publicJwk, key.alg)
        .then((publicKey) => compactVerify(text, publicKey))
        .catch(() => undefined);
      if (verified) return JSON.parse(new TextDecoder().decode(verified.payload)) as Record<string, unknown>;
    }
    return undefined;
  }

  async function accessToken({ clientId, scope, resource, sub, story }: Granted): Promise<string> {
    const exp = Math.floor(Date.now() / 1000) + state.lifetime;
    const claims = { ...issuer.claims(resource), client_id: clientId, scope, sub, exp, ...story };
    if (resource !== opaqueResource) return issuer.sign(claims);
    const token = randomUUID();
    issuer.introspected.set(token, { active: true, ...claims });
    return token;
  }

  function idToken({ clientId, sub, nonce }: Granted): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    return issuer.sign(
      { iss: issuer.issuer, aud: clientId, sub, nonce, iat: now, exp: now + 300 },
      { typ: 'JWT' },
      idTokenKey,
    );
  }

  issuer.endpoints.set('/userinfo', (_request, response) =>
    json(response, 200, { sub: 'alice', name: 'Alice <Liddell>', email: 'alice@example.com' }),
  );
  issuer.endpoints.set('/revoke', async (request, response) => {
    const asked = await form(request);
    if (clientOf(request, asked, state.secrets) === undefined) return json(response, 401, { error: 'invalid_client' });
    state.revoked.push(asked.get('token') ?? '');
    response.writeHead(200).end();
  });
  return state;
}

async function form(request: IncomingMessage): Promise<URLSearchParams> {
  return new URLSearchParams((await request.toArray()).join(''));
}

function json(response: ServerResponse, status: number, value: unknown): void {
  const headers = { 'content-type': 'application/json', 'access-control-allow-origin': '*' };
  response.writeHead(status, headers).end(JSON.stringify(value));
}

/** A confidential client by client_secret_basic alone, and the one public client by its id. */
function clientOf(
  request: IncomingMessage,
  body: URLSearchParams,
  secrets: Record<string, string>,
): string | undefined {
  const { authorization } = request.headers;
  if (authorization === undefined) return body.get('client_id') === 'photos-spa' ? 'photos-spa' : undefined;
  const pair = Buffer.from(authorization.replace(/^Basic /, ''), 'base64').toString();
  const [id = '', secret] = pair.split(':').map((part) => decodeURIComponent(part.replaceAll('+', ' ')));
  return secrets[id] === secret ? id : undefined;
}
