/**
 * What every browser test stands on: one Chromium and one Gatehouse for the file, and for each test people with browsers
 * of their own and apps of their own, all gone when it ends.
 *
 * Whatever a browser complains about fails the test it happened in: a violation of the content security policy, a line
 * on the console, an exception, a file that was not there. A test that provokes one says so with `expectComplaint`.
 */
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import type { TestServer } from '../support/server.ts';
import { startWorld, type World } from '../support/world.ts';
import { type ClientApp, type ClientAppOptions, startClientApp } from './client-app.ts';

/** Milliseconds to wait for what must happen, on the slowest of machines. */
const PATIENCE = 12_000;

export interface Stage<House extends TestServer = World> {
  readonly world: House;
  /** A person's browser with nothing in it; its further tabs come from `page.context()`. */
  open(options?: BrowserContextOptions): Promise<Page>;
  /** Starts an app of a new client. */
  app(options?: ClientAppOptions): Promise<ClientApp>;
  /** What browsers have complained about since the test began. */
  readonly complaints: readonly string[];
  /** Waits for a complaint the test provokes, and forgives it and those like it. */
  expectComplaint(pattern: RegExp): Promise<void>;
}

/** Called once at the top of a test file; what it returns can be used in its tests and hooks. */
export function setStage(): Stage {
  return setStageWith(startWorld);
}

/** The same around another Gatehouse than the usual one. */
export function setStageWith<House extends TestServer>(start: () => Promise<House>): Stage<House> {
  let browser: Browser | undefined;
  let world: House | undefined;
  const contexts: BrowserContext[] = [];
  const apps: ClientApp[] = [];
  const complaints: string[] = [];
  const forgiven: RegExp[] = [];

  beforeAll(async () => {
    [browser, world] = await Promise.all([launchChromium(), start()]);
  });
  afterAll(async () => {
    await browser?.close();
    await world?.close();
  });
  afterEach(async () => {
    await Promise.all(contexts.splice(0).map((context) => context.close()));
    await Promise.all(apps.splice(0).map((app) => app.close()));
    const provoked = forgiven.splice(0);
    const unexpected = complaints.splice(0).filter((text) => !provoked.some((pattern) => pattern.test(text)));
    expect(unexpected, 'what browsers complained about').toEqual([]);
  });

  return {
    get world() {
      return standing(world);
    },
    async open(options) {
      const context = await watchedContext(standing(browser), complaints, options);
      contexts.push(context);
      return context.newPage();
    },
    async app(options) {
      const app = await startClientApp(standing(world), options);
      apps.push(app);
      return app;
    },
    complaints,
    async expectComplaint(pattern) {
      forgiven.push(pattern);
      await eventually(() => complaints.join('\n')).toMatch(pattern);
    },
  };
}

function standing<Part>(part: Part | undefined): Part {
  if (part === undefined) throw new Error('the stage is set before the first test');
  return part;
}

/** A browser profile that writes down what goes wrong in any of its pages. */
async function watchedContext(
  browser: Browser,
  complaints: string[],
  options?: BrowserContextOptions,
): Promise<BrowserContext> {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(PATIENCE);
  // Pages run no script of ours, but Chromium reports every violation to whoever listens.
  await context.addInitScript(`document.addEventListener('securitypolicyviolation', (event) =>
    console.error('policy', event.effectiveDirective, event.blockedURI))`);
  context.on('console', (message) => {
    // Said of every error page; `response` below tells those from missing files.
    if (message.text().startsWith('Failed to load resource: the server responded with')) return;
    complaints.push(`${message.page()?.url()}: ${message.text()}`);
  });
  context.on('weberror', (error) => complaints.push(`${error.page()?.url()}: ${error.error().message}`));
  context.on('response', (response) => {
    const status = response.status();
    if (status >= 500 || (status >= 400 && !response.request().isNavigationRequest()))
      complaints.push(`${response.request().method()} ${response.url()}: ${status}`);
  });
  return context;
}

/** What `read` gives fits soon. */
export function eventually<Value>(read: () => Value) {
  return expect.poll(read, { timeout: PATIENCE });
}

/** Fills in the login page and sends it. */
export async function signIn(page: Page, username = 'alice', password = 'wonderland'): Promise<void> {
  await page.locator('#username').fill(username);
  await page.locator('#password').fill(password);
  await page.locator('#login-submit').click();
}

/** From the app through sign-in and consent and back. */
export async function signInAndAllow(page: Page, address: string, username?: string, password?: string): Promise<void> {
  await page.goto(address);
  await signIn(page, username, password);
  await page.locator('#consent-allow').click();
}

/** What an element says, in one line. */
export async function textOf(element: Locator): Promise<string> {
  return ((await element.textContent()) ?? '').replace(/\s+/g, ' ').trim();
}

/** The error page: its OAuth error code, once it shows a reference for whoever is asked for help. */
export async function errorCodeOn(page: Page): Promise<string | null> {
  expect(await page.locator('#error-reference').textContent()).toMatch(/^[\w-]{10,}$/);
  return page.locator('#error-code').textContent();
}
