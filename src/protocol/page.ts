/**
 * What a person sees: one type per page, drawn by `views/<view>.eta` inside `views/layout.eta`.
 *
 * Rooms answer with a `Page`; the edge adds the `Shell` and renders. A page carries ready strings, lists and
 * booleans, so that a view decides nothing: it prints, loops and branches on what is there. Everything a view prints
 * is escaped, the constant scripts too.
 *
 * Invariant: a URL in a page is one the server made itself or one a client registered; a URI that came with the request
 * and was not verified is never in a page, so an error page cannot become an open redirector (RFC 9700 §4.11.2).
 */
import type { CHECK_SESSION_SCRIPT, FORM_POST_SCRIPT, GO_ON_SCRIPT } from './page-scripts.ts';

export * from './page-scripts.ts';
export { DEFAULT_ACCENT, themeStylesheet } from './theme.ts';

/** What the edge adds to every page. URLs are paths on this server; `logoUrl` may also be a `data:` URL. */
export interface Shell {
  readonly brand: { readonly name: string; readonly logoUrl?: string };
  readonly stylesheetUrl: string;
  readonly themeUrl: string;
  readonly faviconUrl: string;
  /** Shown on error pages, so that a person can name the line in the log. */
  readonly requestId: string;
  /** The cookie that the page of session management reads, by its whole name. */
  readonly stateCookie: string;
}

/** A hidden input. */
export interface HiddenField {
  readonly name: string;
  readonly value: string;
}

/**
 * A client as a person is shown it. Its name is its own claim, so the host is always shown beside the name where known.
 * The three links and the logo come from registered metadata: `https` (or loopback `http`) only, the logo as this
 * server's own copy (a path or a `data:` URL), since a picture fetched from the client would tell it who is looking.
 */
export interface ClientCard {
  readonly name: string;
  /** The letter that stands in for a missing logo. */
  readonly initial: string;
  readonly host?: string;
  readonly logoUrl?: string;
  readonly siteUrl?: string;
  readonly policyUrl?: string;
  readonly termsUrl?: string;
}

/** Somebody who is signed in. `name` falls back to the user name where there is none. */
export interface Person {
  readonly name: string;
  readonly username: string;
  readonly initial: string;
  readonly email?: string;
}

/** What is asked for at one API, in the words its scopes were registered with. */
export interface AccessGroup {
  readonly name: string;
  readonly host?: string;
  readonly descriptions: readonly string[];
  /** What is asked for in detail (RFC 9396). */
  readonly details?: readonly DetailWords[];
}

/** One authorization detail: words of its API with what the client put in for them (`asked`), and members without words. */
export interface DetailWords {
  readonly words: readonly { readonly text: string; readonly asked?: true }[];
  readonly facts: readonly { readonly name: string; readonly value: string }[];
}

/** A moment for people (`text`, with its time zone where it has hours) and for machines (`iso`, RFC 3339). */
export interface Moment {
  readonly iso: string;
  readonly text: string;
}

/** The sign-in form, for a client's request or, without `client` and `pending`, for the account page. */
export interface LoginPage {
  readonly view: 'login';
  /** Where `username`, `password`, `csrf` and `pending` are posted. */
  readonly action: string;
  /** Where "Cancel" is posted (`csrf`, `pending`); the client then gets `access_denied`. Only with a pending request. */
  readonly cancelAction?: string;
  readonly csrf: string;
  readonly pending?: string;
  readonly client?: ClientCard;
  /** What was typed before, or the `login_hint`; the password is never sent back. */
  readonly username: string;
  /** The caret starts in the password field: the user name is known. */
  readonly usernameKnown: boolean;
  /** Why the person is asked again, where it is not an error: `prompt=login`, `max_age`. */
  readonly notice?: string;
  /** A throttled attempt has a message and no invalid field. */
  readonly error?: { readonly message: string; readonly usernameInvalid: boolean; readonly passwordInvalid: boolean };
}

/** Which of the people signed in with this browser goes on (OIDC Core §3.1.2.1, `prompt=select_account`). */
export interface SelectAccountPage {
  readonly view: 'select-account';
  /** Where `account` (an `accounts[].value`), `csrf` and `pending` are posted. */
  readonly action: string;
  readonly cancelAction?: string;
  readonly csrf: string;
  readonly pending?: string;
  readonly client?: ClientCard;
  readonly accounts: readonly { readonly value: string; readonly person: Person }[];
  /** Leads to the sign-in form for somebody else. */
  readonly otherUrl: string;
}

/** What a client asks for. The form posts `decision` (`allow` or `deny`), `csrf` and `pending`. */
export interface ConsentPage {
  readonly view: 'consent';
  readonly action: string;
  readonly csrf: string;
  readonly pending: string;
  readonly client: ClientCard;
  readonly person: Person;
  /** "Not you?" leads here. */
  readonly otherUrl: string;
  readonly access: readonly AccessGroup[];
  /** `host` is that of the redirect URI; `onThisDevice` for loopback and private-use schemes (RFC 8252 §7, §8.6). */
  readonly returnsTo: { readonly host: string; readonly onThisDevice: boolean };
}

/** What is wrong with a request, on a page that goes on without it. */
export interface Problem {
  /** OAuth error code. */
  readonly code: string;
  readonly description: string;
}

/** "Sign out?" (RP-Initiated Logout §2: asked whenever the request does not prove who sent it). */
export interface LogoutPage {
  readonly view: 'logout';
  readonly action: string;
  readonly csrf: string;
  /** What the logout request must keep until it is confirmed. */
  readonly fields: readonly HiddenField[];
  readonly people: readonly Person[];
  /** Who asks, where the request proves it, or where the browser goes afterwards. */
  readonly client?: ClientCard;
  readonly problem?: Problem;
  readonly stayUrl: string;
}

export interface SignedOutPage {
  readonly view: 'signed-out';
  readonly signInUrl?: string;
  /** The way back to where the person came from: an address that client has registered. */
  readonly back?: { readonly client: ClientCard; readonly url: string };
  readonly problem?: Problem;
}

/** Front-Channel Logout 1.0 §3: loads clients' logout addresses in frames nobody sees, then goes on by itself. */
export interface FrontchannelLogoutPage {
  readonly view: 'frontchannel-logout';
  readonly frames: readonly string[];
  readonly continueUrl: string;
  /** Where that leads, if it leads away. */
  readonly client?: ClientCard;
  /** `<meta http-equiv="refresh">`, for where scripts do not run. */
  readonly refresh: string;
  readonly script: typeof GO_ON_SCRIPT;
}

/** Session Management 1.0 §3.3: the page clients load in a frame and ask. Not for people, so without the layout. */
export interface CheckSessionPage {
  readonly view: 'check-session';
  readonly script: typeof CHECK_SESSION_SCRIPT;
}

/** An error that is shown, never sent (RFC 6749 §4.1.2.1), and every other page that cannot be had. */
export interface ErrorPage {
  readonly view: 'error';
  readonly heading: string;
  /** The OAuth error code, for the developer who is shown this page. */
  readonly code?: string;
  readonly description: string;
}

/** Form Post Response Mode §2: a form that sends itself, or is sent by its button where scripts do not run. */
export interface FormPostPage {
  readonly view: 'form-post';
  /** The verified redirect URI. */
  readonly action: string;
  readonly host: string;
  readonly fields: readonly HiddenField[];
  readonly script: typeof FORM_POST_SCRIPT;
}

/** The page of somebody who is signed in. "Remove access" posts `csrf` and `client_id` to `removeAction`. */
export interface AccountPage {
  readonly view: 'account';
  readonly person: Person;
  readonly csrf: string;
  readonly removeAction: string;
  readonly signOutUrl: string;
  /** What just happened: "Photos Web no longer has access." */
  readonly notice?: string;
  readonly apps: readonly {
    readonly clientId: string;
    readonly client: ClientCard;
    readonly grantedAt: Moment;
    readonly access: readonly AccessGroup[];
  }[];
  readonly signIns: readonly { readonly person: Person; readonly signedInAt: Moment; readonly current: boolean }[];
}

/** What `/` shows. */
export interface HomePage {
  readonly view: 'home';
  readonly accountUrl: string;
  readonly person?: Person;
}

export type Page =
  | LoginPage
  | SelectAccountPage
  | ConsentPage
  | LogoutPage
  | SignedOutPage
  | FrontchannelLogoutPage
  | CheckSessionPage
  | ErrorPage
  | FormPostPage
  | AccountPage
  | HomePage;

/** The heading of an error page by HTTP status; whatever else is the request's fault. */
const ERROR_HEADINGS: Readonly<Record<number, string>> = {
  403: 'This form cannot be accepted',
  404: 'There is nothing here',
  405: 'This page does not work that way',
  413: 'That was too much to read',
  429: 'Too many attempts',
  500: 'Something went wrong on our side',
  503: 'Back in a moment',
};

/**
 * The page for an error that a person is shown.
 * @param status HTTP status; it chooses the heading
 * @param description plain words: what happened and what to do; never text that came with the request
 * @param code OAuth error code, where the error has one
 */
export function errorPage(status: number, description: string, code?: string): ErrorPage {
  const heading = ERROR_HEADINGS[status] ?? 'Something is wrong with this request';
  return { view: 'error', heading, description, ...(code === undefined ? {} : { code }) };
}
