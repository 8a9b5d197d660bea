/** `fetch` that trusts one certificate of a test: nothing is switched off, so what we serve must really match it. */
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { buffer } from 'node:stream/consumers';

/**
 * @param certificate PEM file of the certificate to trust
 * @param own the client's own certificate and key, shown to whoever asks
 * @returns a `fetch` for https that follows no redirects
 */
export function trustingFetch(certificate: string, own?: { cert: string; key: string }): typeof fetch {
  const shown = own && { cert: readFileSync(own.cert), key: readFileSync(own.key) };
  const agent = new Agent({ ca: readFileSync(certificate), keepAlive: true, ...shown });
  return async (input, init) => {
    const asked = new Request(input, init);
    const body = Buffer.from(await asked.arrayBuffer());
    return new Promise<Response>((resolve, reject) => {
      const outgoing = request(
        asked.url,
        // What a person's browser sends (cookie, origin) is not for Request to keep: the caller's own headers are taken.
        { agent, method: asked.method, headers: { ...Object.fromEntries(asked.headers), ...given(init?.headers) } },
        async (incoming) => {
          const headers = new Headers();
          for (let index = 0; index < incoming.rawHeaders.length; index += 2)
            headers.append(incoming.rawHeaders[index] ?? '', incoming.rawHeaders[index + 1] ?? '');
          const status = incoming.statusCode ?? 0;
          const content = await buffer(incoming);
          resolve(new Response([204, 304].includes(status) ? null : new Uint8Array(content), { status, headers }));
        },
      );
      outgoing.once('error', reject);
      outgoing.end(body);
    });
  };
}

function given(headers: RequestInit['headers']): Record<string, string> {
  if (headers === undefined || headers instanceof Headers || Array.isArray(headers)) return {};
  return headers as Record<string, string>;
}
