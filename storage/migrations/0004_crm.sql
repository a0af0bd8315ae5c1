-- crm: companies, contacts, deals, activities and tasks.
-- Names, types and defaults are those Prisma derives from storage/tekup.prisma.

CREATE SCHEMA IF NOT EXISTS crm;

CREATE TABLE crm."CrmCompany" (
    "id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "website" TEXT,
    "industry" TEXT,
    "size" TEXT,
    "revenue" DOUBLE PRECISION,
    "email" TEXT,
    "phone" TEXT,
    "address" TEXT,
    "city" TEXT,
    "postalCode" TEXT,
    "country" TEXT DEFAULT 'Denmark',
    "vatNumber" TEXT,
    "status" TEXT NOT NULL DEFAULT 'active',
    "owner" TEXT,
    "lastContactAt" TIMESTAMP(3),
    "notes" TEXT,
    "tags" TEXT[] DEFAULT ARRAY[]::TEXT[],
    "customFields" JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "CrmCompany_pkey" PRIMARY KEY ("id")
);

CREATE TABLE crm."CrmContact" (
    "id" TEXT NOT NULL,
    "companyId" TEXT,
    "firstName" TEXT NOT NULL,
    "lastName" TEXT NOT NULL,
    "email" TEXT,
    "phone" TEXT,
    "mobile" TEXT,
    "title" TEXT,
    "address" TEXT,
    "city" TEXT,
    "postalCode" TEXT,
    "country" TEXT DEFAULT 'Denmark',
    "status" TEXT NOT NULL DEFAULT 'active',
    "source" TEXT,
    "owner" TEXT,
    "lastContactAt" TIMESTAMP(3),
    "nextFollowUp" TIMESTAMP(3),
    "notes" TEXT,
    "tags" TEXT[] DEFAULT ARRAY[]::TEXT[],
    "customFields" JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "CrmContact_pkey" PRIMARY KEY ("id")
);

CREATE TABLE crm."CrmDeal" (
    "id" TEXT NOT NULL,
    "contactId" TEXT,
    "companyId" TEXT,
    "title" TEXT NOT NULL,
    "value" DOUBLE PRECISION NOT NULL,
    "currency" TEXT NOT NULL DEFAULT 'DKK',
    "pipeline" TEXT NOT NULL DEFAULT 'sales',
    "stage" TEXT NOT NULL DEFAULT 'qualification',
    "probability" INTEGER,
    "owner" TEXT NOT NULL,
    "status" TEXT NOT NULL DEFAULT 'open',
    "lostReason" TEXT,
    "expectedCloseDate" TIMESTAMP(3),
    "actualCloseDate" TIMESTAMP(3),
    "description" TEXT,
    "tags" TEXT[] DEFAULT ARRAY[]::TEXT[],
    "customFields" JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "CrmDeal_pkey" PRIMARY KEY ("id")
);

CREATE TABLE crm."CrmDealProduct" (
    "id" TEXT NOT NULL,
    "dealId" TEXT NOT NULL,
    "productName" TEXT NOT NULL,
    "quantity" INTEGER NOT NULL DEFAULT 1,
    "unitPrice" DOUBLE PRECISION NOT NULL,
    "discount" DOUBLE PRECISION NOT NULL DEFAULT 0,
    "total" DOUBLE PRECISION NOT NULL,
    "description" TEXT,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "CrmDealProduct_pkey" PRIMARY KEY ("id")
);

CREATE TABLE crm."CrmActivity" (
    "id" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "subject" TEXT,
    "description" TEXT,
    "contactId" TEXT,
    "companyId" TEXT,
    "dealId" TEXT,
    "owner" TEXT NOT NULL,
    "durationMinutes" INTEGER,
    "outcome" TEXT,
    "occurredAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "CrmActivity_pkey" PRIMARY KEY ("id")
);

CREATE TABLE crm."CrmTask" (
    "id" TEXT NOT NULL,
    "contactId" TEXT,
    "title" TEXT NOT NULL,
    "description" TEXT,
    "assignedTo" TEXT NOT NULL,
    "status" TEXT NOT NULL DEFAULT 'todo',
    "priority" TEXT NOT NULL DEFAULT 'medium',
    "dueDate" TIMESTAMP(3),
    "completedAt" TIMESTAMP(3),
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "CrmTask_pkey" PRIMARY KEY ("id")
);

CREATE INDEX "CrmCompany_name_idx" ON crm."CrmCompany"("name");
CREATE INDEX "CrmCompany_status_idx" ON crm."CrmCompany"("status");
CREATE INDEX "CrmCompany_owner_idx" ON crm."CrmCompany"("owner");
CREATE UNIQUE INDEX "CrmContact_email_key" ON crm."CrmContact"("email");
CREATE INDEX "CrmContact_companyId_idx" ON crm."CrmContact"("companyId");
CREATE INDEX "CrmContact_status_idx" ON crm."CrmContact"("status");
CREATE INDEX "CrmContact_owner_idx" ON crm."CrmContact"("owner");
CREATE INDEX "CrmDeal_pipeline_stage_idx" ON crm."CrmDeal"("pipeline", "stage");
CREATE INDEX "CrmDeal_status_idx" ON crm."CrmDeal"("status");
CREATE INDEX "CrmDeal_owner_idx" ON crm."CrmDeal"("owner");
CREATE INDEX "CrmDeal_contactId_idx" ON crm."CrmDeal"("contactId");
CREATE INDEX "CrmDeal_companyId_idx" ON crm."CrmDeal"("companyId");
CREATE INDEX "CrmDeal_expectedCloseDate_idx" ON crm."CrmDeal"("expectedCloseDate");
CREATE INDEX "CrmDealProduct_dealId_idx" ON crm."CrmDealProduct"("dealId");
CREATE INDEX "CrmActivity_contactId_idx" ON crm."CrmActivity"("contactId");
CREATE INDEX "CrmActivity_companyId_idx" ON crm."CrmActivity"("companyId");
CREATE INDEX "CrmActivity_dealId_idx" ON crm."CrmActivity"("dealId");
CREATE INDEX "CrmActivity_occurredAt_idx" ON crm."CrmActivity"("occurredAt");
CREATE INDEX "CrmTask_assignedTo_idx" ON crm."CrmTask"("assignedTo");
CREATE INDEX "CrmTask_contactId_idx" ON crm."CrmTask"("contactId");
CREATE INDEX "CrmTask_status_idx" ON crm."CrmTask"("status");
CREATE INDEX "CrmTask_dueDate_idx" ON crm."CrmTask"("dueDate");

ALTER TABLE crm."CrmContact" ADD CONSTRAINT "CrmContact_companyId_fkey" FOREIGN KEY ("companyId") REFERENCES crm."CrmCompany"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE crm."CrmDeal" ADD CONSTRAINT "CrmDeal_contactId_fkey" FOREIGN KEY ("contactId") REFERENCES crm."CrmContact"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE crm."CrmDeal" ADD CONSTRAINT "CrmDeal_companyId_fkey" FOREIGN KEY ("companyId") REFERENCES crm."CrmCompany"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE crm."CrmDealProduct" ADD CONSTRAINT "CrmDealProduct_dealId_fkey" FOREIGN KEY ("dealId") REFERENCES crm."CrmDeal"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE crm."CrmActivity" ADD CONSTRAINT "CrmActivity_contactId_fkey" FOREIGN KEY ("contactId") REFERENCES crm."CrmContact"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE crm."CrmActivity" ADD CONSTRAINT "CrmActivity_companyId_fkey" FOREIGN KEY ("companyId") REFERENCES crm."CrmCompany"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE crm."CrmActivity" ADD CONSTRAINT "CrmActivity_dealId_fkey" FOREIGN KEY ("dealId") REFERENCES crm."CrmDeal"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE crm."CrmTask" ADD CONSTRAINT "CrmTask_contactId_fkey" FOREIGN KEY ("contactId") REFERENCES crm."CrmContact"("id") ON DELETE SET NULL ON UPDATE CASCADE;
