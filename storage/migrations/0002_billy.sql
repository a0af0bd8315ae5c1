-- billy: what the Billy.dk MCP server keeps: cache, audit log, usage, rate limits.
-- Names, types and defaults are those Prisma derives from storage/tekup.prisma.

CREATE SCHEMA IF NOT EXISTS billy;

CREATE TABLE billy."BillyOrganization" (
    "id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "billyApiKey" TEXT NOT NULL,
    "billyOrgId" TEXT NOT NULL,
    "settings" JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "BillyOrganization_pkey" PRIMARY KEY ("id")
);

CREATE TABLE billy."BillyCache" (
    "id" TEXT NOT NULL,
    "organizationId" TEXT NOT NULL,
    "cacheKey" TEXT NOT NULL,
    "data" JSONB NOT NULL,
    "expiresAt" TIMESTAMP(3) NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "BillyCache_pkey" PRIMARY KEY ("id")
);

CREATE TABLE billy."BillyAuditLog" (
    "id" TEXT NOT NULL,
    "organizationId" TEXT NOT NULL,
    "userId" TEXT,
    "toolName" TEXT NOT NULL,
    "action" TEXT NOT NULL,
    "resourceType" TEXT,
    "resourceId" TEXT,
    "requestData" JSONB,
    "responseData" JSONB,
    "success" BOOLEAN NOT NULL,
    "errorMessage" TEXT,
    "durationMs" INTEGER,
    "ipAddress" TEXT,
    "userAgent" TEXT,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "BillyAuditLog_pkey" PRIMARY KEY ("id")
);

CREATE TABLE billy."BillyUser" (
    "id" TEXT NOT NULL,
    "organizationId" TEXT NOT NULL,
    "email" TEXT NOT NULL,
    "role" TEXT NOT NULL DEFAULT 'user',
    "isActive" BOOLEAN NOT NULL DEFAULT true,
    "metadata" JSONB,
    "lastLoginAt" TIMESTAMP(3),
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "BillyUser_pkey" PRIMARY KEY ("id")
);

CREATE TABLE billy."BillyUsageMetrics" (
    "id" TEXT NOT NULL,
    "organizationId" TEXT NOT NULL,
    "toolName" TEXT NOT NULL,
    "date" DATE NOT NULL,
    "hour" SMALLINT NOT NULL,
    "callCount" INTEGER NOT NULL DEFAULT 0,
    "successCount" INTEGER NOT NULL DEFAULT 0,
    "errorCount" INTEGER NOT NULL DEFAULT 0,
    "avgDurationMs" INTEGER,
    "cacheHitRate" DOUBLE PRECISION,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "BillyUsageMetrics_pkey" PRIMARY KEY ("id")
);

CREATE TABLE billy."BillyRateLimit" (
    "id" TEXT NOT NULL,
    "organizationId" TEXT NOT NULL,
    "endpoint" TEXT NOT NULL,
    "windowStart" TIMESTAMP(3) NOT NULL,
    "requestCount" INTEGER NOT NULL DEFAULT 0,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "BillyRateLimit_pkey" PRIMARY KEY ("id")
);

CREATE UNIQUE INDEX "BillyOrganization_billyOrgId_key" ON billy."BillyOrganization"("billyOrgId");
CREATE INDEX "BillyOrganization_billyOrgId_idx" ON billy."BillyOrganization"("billyOrgId");
CREATE INDEX "BillyCache_expiresAt_idx" ON billy."BillyCache"("expiresAt");
CREATE UNIQUE INDEX "BillyCache_organizationId_cacheKey_key" ON billy."BillyCache"("organizationId", "cacheKey");
CREATE INDEX "BillyAuditLog_organizationId_createdAt_idx" ON billy."BillyAuditLog"("organizationId", "createdAt");
CREATE INDEX "BillyAuditLog_toolName_idx" ON billy."BillyAuditLog"("toolName");
CREATE UNIQUE INDEX "BillyUser_organizationId_email_key" ON billy."BillyUser"("organizationId", "email");
CREATE INDEX "BillyUsageMetrics_date_idx" ON billy."BillyUsageMetrics"("date");
CREATE UNIQUE INDEX "BillyUsageMetrics_organizationId_date_hour_toolName_key" ON billy."BillyUsageMetrics"("organizationId", "date", "hour", "toolName");
CREATE INDEX "BillyRateLimit_windowStart_idx" ON billy."BillyRateLimit"("windowStart");
CREATE UNIQUE INDEX "BillyRateLimit_organizationId_endpoint_windowStart_key" ON billy."BillyRateLimit"("organizationId", "endpoint", "windowStart");

ALTER TABLE billy."BillyCache" ADD CONSTRAINT "BillyCache_organizationId_fkey" FOREIGN KEY ("organizationId") REFERENCES billy."BillyOrganization"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE billy."BillyAuditLog" ADD CONSTRAINT "BillyAuditLog_organizationId_fkey" FOREIGN KEY ("organizationId") REFERENCES billy."BillyOrganization"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE billy."BillyUser" ADD CONSTRAINT "BillyUser_organizationId_fkey" FOREIGN KEY ("organizationId") REFERENCES billy."BillyOrganization"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE billy."BillyUsageMetrics" ADD CONSTRAINT "BillyUsageMetrics_organizationId_fkey" FOREIGN KEY ("organizationId") REFERENCES billy."BillyOrganization"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE billy."BillyRateLimit" ADD CONSTRAINT "BillyRateLimit_organizationId_fkey" FOREIGN KEY ("organizationId") REFERENCES billy."BillyOrganization"("id") ON DELETE CASCADE ON UPDATE CASCADE;
