/** What people see of a logout request: the question, the end, and in between the page that tells clients. */
import type { Client } from '../../protocol/client.ts';
import type { OAuthError } from '../../protocol/errors.ts';
import { clientCard, personCard } from '../../protocol/interaction.ts';
import type { BrowserResponse } from '../../protocol/message.ts';
import { type ClientCard, GO_ON_SCRIPT, type HiddenField } from '../../protocol/page.ts';
import { formTarget } from '../../protocol/redirect-uri.ts';
import type { Session } from '../../protocol/session.ts';
import type { Destination, LogoutRequest } from './request.ts';

/** Seconds from when all is there until a browser without scripts goes on. */
const REFRESH_AFTER = 1;

/** The question. What is wrong with the request is said with it. */
export function questionPage(
  { client, hint, destination }: LogoutRequest,
  session: Session,
  problem: OAuthError | undefined,
  form: { readonly action: string; readonly csrf: string; readonly fields: readonly HiddenField[] },
): BrowserResponse {
  return {
    kind: 'page',
    formTarget: destination && formTarget(destination),
    ...(problem && { status: problem.status, cause: problem }),
    page: {
      view: 'logout',
      ...form,
      people: session.signIns.map(({ user }) => personCard(user)),
      // Where the browser goes the person shall know beforehand, whoever it was that asked.
      ...(client && (hint || destination) && { client: cardOf(client, destination) }),
      ...(problem && { problem: { code: problem.code, description: problem.message } }),
      stayUrl: '/account',
    },
  };
}

/** The end, with the way back where one is known: an address of the client's own, that somebody has to click on. */
export function signedOutPage(
  { client, destination }: LogoutRequest,
  problem: OAuthError | undefined,
): BrowserResponse {
  const card = client && cardOf(client, destination);
  const url = destination?.location ?? card?.siteUrl;
  return {
    kind: 'page',
    ...(problem && { status: problem.status, cause: problem }),
    page: {
      view: 'signed-out',
      signInUrl: '/login',
      ...(card && url !== undefined && { back: { client: card, url } }),
      ...(problem && { problem: { code: problem.code, description: problem.message } }),
    },
  };
}

/** Front-Channel Logout 1.0 §3: loads what clients asked for, and goes on. */
export function frontchannelLogoutPage(
  frames: readonly string[],
  continueUrl: string,
  { destination }: LogoutRequest,
): BrowserResponse {
  return {
    kind: 'page',
    page: {
      view: 'frontchannel-logout',
      frames,
      continueUrl,
      ...(destination && { client: cardOf(destination.client, destination) }),
      refresh: `${REFRESH_AFTER};url=${continueUrl}`,
      script: GO_ON_SCRIPT,
    },
  };
}

/** The client under the host that the browser goes to, where it goes to one: the rest is what it says of itself. */
function cardOf(client: Client, destination: Destination | undefined): ClientCard {
  const card = clientCard(client);
  const host = destination === undefined ? '' : new URL(destination.redirectUri).host;
  return host === '' ? card : { ...card, host };
}
