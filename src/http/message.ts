/** From Fastify's request to the kernel's: parameters parsed strictly, headers counted, nothing interpreted. */
import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { OAuthError } from '../protocol/errors.ts';
import { type EndpointRequest, LONGEST_URL, Parameters, parseForm } from '../protocol/message.ts';

/** A form body arrives as its text; {@link toEndpointRequest} parses it. */
export type FormBody = string | undefined;

/**
 * @param now the moment this request lives in
 * @throws OAuthError `invalid_request`
 */
export function toEndpointRequest(request: FastifyRequest, now: Date): EndpointRequest {
  if ((request.raw.url?.length ?? 0) > LONGEST_URL)
    throw new OAuthError('invalid_request', 'The URL is too long.', { status: 414 });
  const { door } = request.server;
  const text = request.method === 'POST' ? ((request.body as FormBody) ?? '') : queryOf(request);
  return {
    id: request.id,
    now,
    method: request.method,
    parameters: new Parameters(parseForm(text)),
    authorization: headerValues(request.raw, 'authorization'),
    dpop: headerValues(request.raw, 'dpop'),
    address: door.origin + pathOf(request),
    certificate: door.certificate(request, now),
    accept: request.headers.accept,
    origin: request.headers.origin,
    source: request.source,
    trace: request.trace,
  };
}

/**
 * Every value that a header arrived with, however often it was sent: to be refused by whoever must not choose. Read from what
 * came, because Node would sort all headers for these.
 * @param name in lower case
 */
function headerValues({ rawHeaders }: IncomingMessage, name: string): string[] {
  const values: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [header, value] = [rawHeaders[at], rawHeaders[at + 1]];
    if (header?.length === name.length && header.toLowerCase() === name && value !== undefined) values.push(value);
  }
  return values;
}

function pathOf(request: FastifyRequest): string {
  const url = request.raw.url ?? '';
  const mark = url.indexOf('?');
  return mark < 0 ? url : url.slice(0, mark);
}

export function queryOf(request: FastifyRequest): string {
  const url = request.raw.url ?? '';
  const mark = url.indexOf('?');
  return mark < 0 ? '' : url.slice(mark + 1);
}
