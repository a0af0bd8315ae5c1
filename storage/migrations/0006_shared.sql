-- shared: users and the audit log that all services write to.
-- Names, types and defaults are those Prisma derives from storage/tekup.prisma.

CREATE SCHEMA IF NOT EXISTS shared;

CREATE TABLE shared."SharedUser" (
    "id" TEXT NOT NULL,
    "email" TEXT NOT NULL,
    "name" TEXT,
    "role" TEXT NOT NULL DEFAULT 'user',
    "metadata" JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "SharedUser_pkey" PRIMARY KEY ("id")
);

CREATE TABLE shared."SharedAuditLog" (
    "id" TEXT NOT NULL,
    "userId" TEXT,
    "service" TEXT NOT NULL,
    "action" TEXT NOT NULL,
    "resourceType" TEXT,
    "resourceId" TEXT,
    "metadata" JSONB,
    "success" BOOLEAN NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "SharedAuditLog_pkey" PRIMARY KEY ("id")
);

CREATE UNIQUE INDEX "SharedUser_email_key" ON shared."SharedUser"("email");
CREATE INDEX "SharedUser_email_idx" ON shared."SharedUser"("email");
CREATE INDEX "SharedAuditLog_service_createdAt_idx" ON shared."SharedAuditLog"("service", "createdAt");
CREATE INDEX "SharedAuditLog_userId_idx" ON shared."SharedAuditLog"("userId");
