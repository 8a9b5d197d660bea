/** How those who ask for tokens find Gatehouse: by its issuer alone, everything else comes from its metadata. */
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
