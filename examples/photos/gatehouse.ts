/** How each of the applications finds Gatehouse: by its issuer alone, everything else comes from its metadata. */
import * as client from 'openid-client';

/** Who an application is at Gatehouse, and at which Gatehouse. */
export interface ClientSettings {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
}

/** Reads the metadata of the issuer and checks that it is that issuer's own (OpenID Connect Discovery §4.3). */
export async function discoverGatehouse({
  issuer,
  clientId,
  clientSecret,
}: ClientSettings): Promise<client.Configuration> {
  const url = new URL(issuer);
  // openid-client insists on https, rightly: codes, tokens and secrets travel there. On the loopback interface nobody
  // else is on the wire, so plain http is let through for exactly that.
  const isLoopback = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  const execute = url.protocol === 'http:' && isLoopback ? [client.allowInsecureRequests] : [];
  return client.discovery(url, clientId, undefined, client.ClientSecretBasic(clientSecret), { execute, timeout: 5 });
}

/**
 * Calls an API in the application's own name (client credentials, RFC 6749 §4.4). The access token is asked for when first
 * needed and kept until it expires.
 *
 * @param resource the API, which is its address too (RFC 8707)
 * @param scope what the token must allow there
 * @returns a function from a path of that API to its answer
 */
export function fetchAsItself(
  gatehouse: client.Configuration,
  resource: string,
  scope: string,
): (path: string) => Promise<Response> {
  let held: { readonly accessToken: string; readonly goodUntil: number } | undefined;
  let asking: Promise<string> | undefined;

  async function ask(): Promise<string> {
    const tokens = await client.clientCredentialsGrant(gatehouse, { resource, scope });
    // A few seconds less than granted, for the way to the API.
    held = { accessToken: tokens.access_token, goodUntil: Date.now() + ((tokens.expires_in ?? 0) - 5) * 1000 };
    return held.accessToken;
  }

  async function token(): Promise<string> {
    if (held !== undefined && held.goodUntil > Date.now()) return held.accessToken;
    // Calls that come together wait for one answer instead of asking for a token each.
    asking ??= ask().finally(() => {
      asking = undefined;
    });
    return asking;
  }

  function call(path: string, accessToken: string): Promise<Response> {
    const headers = { authorization: `Bearer ${accessToken}` };
    return fetch(new URL(path, resource), { headers, signal: AbortSignal.timeout(5000) });
  }

  return async (path) => {
    const accessToken = await token();
    const response = await call(path, accessToken);
    if (response.status !== 401) return response;
    // Revoked before its time: one more try, with a new one.
    if (held?.accessToken === accessToken) held = undefined;
    return call(path, await token());
  };
}
