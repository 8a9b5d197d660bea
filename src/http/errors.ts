/**
 * The one renderer of errors. What the specification has words for is told in them; what we stand on being away is 503;
 * everything else is `server_error` with no detail, and a line in the log under the request's id.
 */
import type { FastifyError, FastifyRequest } from 'fastify';
import { OAuthError, Unavailable } from '../protocol/errors.ts';

/** Any error as one the caller may read about. */
export function tellable(error: unknown): OAuthError {
  if (error instanceof OAuthError) return error;
  if (error instanceof Unavailable) {
    return new OAuthError('temporarily_unavailable', 'Try again in a moment.', {
      cause: error,
      headers: { 'retry-after': String(error.retryAfter) },
    });
  }
  const status = statusOfFastify(error);
  if (status === 413)
    return new OAuthError('invalid_request', 'The request body is too large.', { status, cause: error });
  // RFC 6749 has no 415: a body of another type is a malformed request.
  if (status !== undefined)
    return new OAuthError('invalid_request', 'The request is malformed, or its body is not a form.', { cause: error });
  return new OAuthError('server_error', 'Something went wrong here.', { cause: error });
}

/** Fastify's own refusals (body too large, unknown media type, broken length) have a code and a 4xx status. */
function statusOfFastify(error: unknown): number | undefined {
  const { code, statusCode } = error as Partial<FastifyError>;
  // The caller hung up in the middle of its body.
  if (code === 'ECONNRESET') return 400;
  return typeof code === 'string' && code.startsWith('FST_') && statusCode !== undefined && statusCode < 500
    ? statusCode
    : undefined;
}

/** Logs what the caller is not told, and notes the refusal for the audit trail. */
export function note(request: FastifyRequest, error: unknown, told: OAuthError): void {
  request.trace.event ??= told.code;
  // Where it was not said already: a code alone tells whoever reads the log no more than the status did.
  if (told.status < 500) request.trace.reason ??= told.reason;
  request.refusal = told.code;
  if (told.status >= 500) request.log.error({ err: error, requestId: request.id }, 'request failed');
}
