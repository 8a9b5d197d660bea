/**
 * The text of access tokens that were let in, for the one use an API has of it: to exchange it (token-exchange.ts).
 *
 * Invariant: only tokens of a request that was authenticated are in here, so a token that nobody checked cannot be exchanged;
 * and the text is apart from what the token says, so it does not get into a log along with that.
 */
import type { AccessToken } from './access-token.ts';

const texts = new WeakMap<AccessToken, string>();

/** Called for a token that is good, and its sender's. */
export function keepText(accessToken: AccessToken, text: string): void {
  texts.set(accessToken, text);
}

/** @throws TypeError for anything but a token that was let in here */
export function textOf(accessToken: AccessToken): string {
  const text = texts.get(accessToken);
  if (text === undefined) throw new TypeError('This is not an access token that was let in: give request.accessToken');
  return text;
}
