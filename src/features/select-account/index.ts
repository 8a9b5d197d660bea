/**
 * The account chooser: OpenID Connect Core §3.1.2.1 (`prompt=select_account`), §3.1.2.3. Several people may be signed in with
 * one browser; who of them answers a request is chosen here, and recorded for that request only.
 *
 * An account in the form is a token of its own, keyed by browser, request and sign-in: it names nobody elsewhere, and a
 * sign-in that has ended, or that the request is not about, has none.
 */
import { eligible } from '../../protocol/account-choice.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { Feature } from '../../protocol/feature.ts';
import {
  cancelInteraction,
  checkForm,
  clientCard,
  formRefused,
  formToken,
  type Interaction,
  interactionOf,
  interactionUrl,
  personCard,
} from '../../protocol/interaction.ts';
import type { BrowserRequest, BrowserResponse } from '../../protocol/message.ts';
import { formTarget } from '../../protocol/redirect-uri.ts';
import { equals } from '../../protocol/secrets.ts';
import { type SignIn, sessionOf } from '../../protocol/session.ts';

const PATH = '/select-account';
const CANCEL_PATH = '/select-account/cancel';

export function selectAccount(): Feature {
  return {
    name: 'select-account',
    endpoints: [
      { caller: 'browser', path: PATH, get: show, post: choose },
      {
        caller: 'browser',
        path: CANCEL_PATH,
        post: (request, server) => cancelInteraction(request, server, PATH),
      },
    ],
  };
}

async function show(request: BrowserRequest, server: AuthorizationServer): Promise<BrowserResponse> {
  const interaction = await interactionOf(request, server);
  const { pending, browser, client, address } = interaction;
  const signIns = await choiceOf(interaction, request, server);
  const otherUrl = interactionUrl('login', pending.id, server);
  if (signIns.length === 0) return { kind: 'redirect', location: otherUrl };
  return {
    kind: 'page',
    cookies: browser.cookies,
    formTarget: formTarget(address),
    page: {
      view: 'select-account',
      action: PATH,
      cancelAction: CANCEL_PATH,
      csrf: formToken(browser, server, PATH, pending.id),
      pending: pending.id,
      client: clientCard(client, address.redirectUri),
      accounts: signIns.map((signIn) => ({
        value: accountToken(interaction, signIn, server),
        person: personCard(signIn.user),
      })),
      otherUrl,
    },
  };
}

async function choose(request: BrowserRequest, server: AuthorizationServer): Promise<BrowserResponse> {
  const { parameters, trace, now } = request;
  checkForm(request, server, PATH, parameters.get('pending') ?? '');
  const interaction = await interactionOf(request, server);
  const { pending, client } = interaction;
  const account = parameters.get('account') ?? '';
  const chosen = (await choiceOf(interaction, request, server)).find((signIn) =>
    equals(accountToken(interaction, signIn, server), account),
  );
  // Signed out since the page was shown, or never on it.
  if (!chosen) throw formRefused();
  trace.clientId = client.id;
  trace.userId = chosen.user.id;
  trace.event = 'account_chosen';
  await server.pendingAuthorizations.choose(pending.id, chosen.id, now);
  return { kind: 'redirect', location: `/authorize?pending=${pending.id}` };
}

/** A `login_hint` leaves nobody out here: whoever came to this page is asked. */
async function choiceOf(
  { request: asked }: Interaction,
  request: BrowserRequest,
  server: AuthorizationServer,
): Promise<readonly SignIn[]> {
  return eligible(asked, await sessionOf(request, server.sessions));
}

function accountToken({ browser, pending }: Interaction, signIn: SignIn, server: AuthorizationServer): string {
  return formToken(browser, server, PATH, pending.id, signIn.id);
}
