/** A world with a client that signs its authorization requests (RFC 9101). */
import { authorizePath, pkce, type TestBrowser, type Visit } from './browser.ts';
import { type ClientKey, clientKey } from './client-key.ts';
import type { TestServerOptions } from './server.ts';
import { redeem, startWorld, type World } from './world.ts';

export const SIGNER_REDIRECT = 'https://signer.example/callback';

export interface SigningWorld extends World {
  /** Registered with the key `key`; may be sent to two addresses. */
  readonly signer: { id: string; secret: string };
  readonly key: ClientKey;
  /** A request object as it should be; `undefined` takes a claim away. */
  claims(changes?: Record<string, unknown>): Record<string, unknown>;
  /** The verifier that goes with the challenge in {@link claims}. */
  readonly verifier: string;
  redeemed(code: string): ReturnType<typeof redeem>;
}

export async function startSigningWorld(
  metadata: Record<string, unknown> = {},
  options: TestServerOptions = {},
): Promise<SigningWorld> {
  const world = await startWorld(options);
  const key = await clientKey('ES256', 'signer-key');
  const signer = await world.client({
    client_id: 'signer',
    client_name: 'Signer',
    redirect_uris: [SIGNER_REDIRECT, `${SIGNER_REDIRECT}/other`],
    scope: 'openid profile photos.read storage.read',
    jwks: { keys: [key.jwk] },
    ...metadata,
  });
  const { verifier, challenge } = pkce();
  return {
    ...world,
    signer,
    key,
    verifier,
    claims(changes = {}) {
      const now = Math.floor(world.clock.now().getTime() / 1000);
      const claims: Record<string, unknown> = {
        iss: signer.id,
        aud: world.issuer,
        nbf: now,
        exp: now + 300,
        client_id: signer.id,
        response_type: 'code',
        redirect_uri: SIGNER_REDIRECT,
        scope: 'openid photos.read',
        state: 'inside',
        code_challenge: challenge,
        code_challenge_method: 'S256',
        ...changes,
      };
      return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
    },
    redeemed: (code) => redeem({ ...world, web: signer }, { code, verifier, redirectUri: SIGNER_REDIRECT }),
  };
}

/** Sends a browser with a request object and nothing else but what is said. */
export function sendObject(
  browser: TestBrowser,
  request: string,
  outer: Record<string, string | undefined> = {},
): Promise<Visit> {
  return browser.send('GET', objectPath(request, outer));
}

export function objectPath(request: string, outer: Record<string, string | undefined> = {}): string {
  return authorizePath({
    client_id: 'signer',
    response_type: undefined,
    state: undefined,
    code_challenge_method: undefined,
    request,
    ...outer,
  });
}
