/**
 * How the API proves itself to the authorization server: by a secret (RFC 6749 §2.3.1) or by a key of its own
 * (`private_key_jwt`, RFC 7523 §2.2), which is what FAPI 2.0 asks for.
 */
import { createPrivateKey, randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import type { IntrospectionClient } from './options.ts';

/** What the authentication adds to a request. */
export interface ClientProof {
  readonly headers: Record<string, string>;
  readonly parameters: Record<string, string>;
}

/** Seconds an assertion may be used; it is made for one request. */
const ASSERTION_LIFETIME = 60;

/**
 * @param issuer the audience of an assertion. The issuer and not the endpoint: an assertion addressed by a URL that the
 *   metadata of a dishonest server names could be used at an honest one.
 */
export function clientAuthentication(issuer: string, client: IntrospectionClient): () => Promise<ClientProof> {
  if ('clientSecret' in client) {
    const proof = {
      headers: { authorization: clientSecretBasic(client.clientId, client.clientSecret) },
      parameters: {},
    };
    return async () => proof;
  }
  const { clientId, privateKey } = client;
  const { alg, kid } = privateKey;
  const key = createPrivateKey({ key: { ...privateKey }, format: 'jwk' });

  return async () => {
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: clientId,
      sub: clientId,
      aud: issuer,
      jti: randomUUID(),
      iat: now,
      exp: now + ASSERTION_LIFETIME,
    };
    const header = { alg, typ: 'client-authentication+jwt', ...(kid === undefined ? {} : { kid }) };
    return {
      headers: {},
      parameters: {
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: await new SignJWT(claims).setProtectedHeader(header).sign(key),
      },
    };
  };
}

/** RFC 6749 §2.3.1: id and secret are form-encoded before they are joined, so neither can hold the colon. */
function clientSecretBasic(clientId: string, clientSecret: string): string {
  const encode = (value: string) => new URLSearchParams({ '': value }).toString().slice(1);
  return `Basic ${Buffer.from(`${encode(clientId)}:${encode(clientSecret)}`).toString('base64')}`;
}
