/**
 * How an API calls the next one for its answer. It must not forward the token that it was called with: that one is not for the next
 * API, and whoever could forward it could act as the user anywhere. It exchanges it (RFC 8693) for a token that is for the next
 * API alone, is about the same user, says who acts now, and lasts no longer.
 */
import { generateKeyPairSync } from 'node:crypto';
import {
  type AccessToken,
  createTokenExchange,
  type ExchangedToken,
  type IntrospectionClient,
  type PrivateKey,
} from 'gatehouse/resource-server';

/** The client that the API is at Gatehouse, which a policy there lets exchange. */
export type ApiCredentials = IntrospectionClient & { readonly issuer: string };

/**
 * @param resource the next API, which is its address too (RFC 8707)
 * @param scope what the token must allow there
 * @returns a function from the token of a request and a path to the answer of the next API
 */
export function callNext(
  { issuer, ...credentials }: ApiCredentials,
  resource: string,
  scope: string,
): (accessToken: AccessToken, path: string) => Promise<Response> {
  const { clientId } = credentials;
  const exchange = createTokenExchange(
    'privateKey' in credentials
      ? // Under FAPI 2.0 no token is good without a key: this one is as old as the process.
        { issuer, client: { clientId, privateKey: credentials.privateKey }, dpopKey: newKey() }
      : { issuer, client: { clientId, clientSecret: credentials.clientSecret } },
  );

  async function call(token: ExchangedToken, path: string): Promise<Response> {
    const url = new URL(path, resource);
    return fetch(url, { headers: await token.headers('GET', url), signal: AbortSignal.timeout(5000) });
  }

  return async (accessToken, path) => {
    const target = { resource, scope: [scope] };
    const token = await exchange(accessToken, target);
    const response = await call(token, path);
    if (response.status !== 401) return response;
    // Ended before its time: one more try, with a new one. If what it came from has ended too, there is none.
    return call(await exchange(accessToken, { ...target, instead: token }), path);
  };
}

function newKey(): PrivateKey {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), alg: 'ES256' };
}
