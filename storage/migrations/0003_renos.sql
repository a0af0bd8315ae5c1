-- renos: the cleaning service: leads, bookings, quotes, invoices.
-- Names, types and defaults are those Prisma derives from storage/tekup.prisma.

CREATE SCHEMA IF NOT EXISTS renos;

CREATE TABLE renos."RenosLead" (
    "id" TEXT NOT NULL,
    "source" TEXT NOT NULL,
    "status" TEXT NOT NULL DEFAULT 'new',
    "priority" TEXT NOT NULL DEFAULT 'medium',
    "score" DOUBLE PRECISION,
    "scoreMetadata" JSONB,
    "name" TEXT,
    "email" TEXT,
    "phone" TEXT,
    "address" TEXT,
    "companyName" TEXT,
    "industry" TEXT,
    "estimatedSize" TEXT,
    "estimatedValue" DOUBLE PRECISION,
    "enrichmentData" JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    "lastScored" TIMESTAMP(3),
    "lastEnriched" TIMESTAMP(3),
    "lastContactAt" TIMESTAMP(3),
    "customerId" TEXT,

    CONSTRAINT "RenosLead_pkey" PRIMARY KEY ("id")
);

CREATE TABLE renos."RenosBooking" (
    "id" TEXT NOT NULL,
    "customerId" TEXT,
    "leadId" TEXT,
    "serviceType" TEXT,
    "address" TEXT,
    "scheduledAt" TIMESTAMP(3) NOT NULL,
    "estimatedDuration" INTEGER NOT NULL,
    "actualStartTime" TIMESTAMP(3),
    "actualEndTime" TIMESTAMP(3),
    "actualDuration" INTEGER,
    "timeVariance" INTEGER,
    "efficiencyScore" DOUBLE PRECISION,
    "timerStatus" TEXT DEFAULT 'not_started',
    "status" TEXT NOT NULL DEFAULT 'scheduled',
    "notes" TEXT,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "RenosBooking_pkey" PRIMARY KEY ("id")
);

CREATE TABLE renos."RenosCustomer" (
    "id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "email" TEXT,
    "phone" TEXT,
    "address" TEXT,
    "companyName" TEXT,
    "notes" TEXT,
    "status" TEXT NOT NULL DEFAULT 'active',
    "tags" TEXT[],
    "totalLeads" INTEGER NOT NULL DEFAULT 0,
    "totalBookings" INTEGER NOT NULL DEFAULT 0,
    "totalRevenue" DOUBLE PRECISION NOT NULL DEFAULT 0,
    "lastContactAt" TIMESTAMP(3),
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "RenosCustomer_pkey" PRIMARY KEY ("id")
);

CREATE TABLE renos."RenosQuote" (
    "id" TEXT NOT NULL,
    "leadId" TEXT NOT NULL,
    "hourlyRate" DOUBLE PRECISION NOT NULL,
    "estimatedHours" DOUBLE PRECISION NOT NULL,
    "subtotal" DOUBLE PRECISION NOT NULL,
    "vatRate" DOUBLE PRECISION NOT NULL DEFAULT 25.0,
    "total" DOUBLE PRECISION NOT NULL,
    "notes" TEXT,
    "validUntil" TIMESTAMP(3),
    "status" TEXT NOT NULL DEFAULT 'draft',
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "RenosQuote_pkey" PRIMARY KEY ("id")
);

CREATE TABLE renos."RenosEmailResponse" (
    "id" TEXT NOT NULL,
    "leadId" TEXT NOT NULL,
    "recipientEmail" TEXT NOT NULL,
    "subject" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    "status" TEXT NOT NULL DEFAULT 'pending',
    "gmailThreadId" TEXT,
    "gmailMessageId" TEXT,
    "sentAt" TIMESTAMP(3),
    "rejectedReason" TEXT,
    "aiModel" TEXT,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "RenosEmailResponse_pkey" PRIMARY KEY ("id")
);

CREATE TABLE renos."RenosBreak" (
    "id" TEXT NOT NULL,
    "bookingId" TEXT NOT NULL,
    "startTime" TIMESTAMP(3) NOT NULL,
    "endTime" TIMESTAMP(3),
    "duration" INTEGER,
    "reason" TEXT,
    "notes" TEXT,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "RenosBreak_pkey" PRIMARY KEY ("id")
);

CREATE TABLE renos."RenosInvoice" (
    "id" TEXT NOT NULL,
    "invoiceNumber" TEXT NOT NULL,
    "bookingId" TEXT,
    "customerName" TEXT NOT NULL,
    "customerEmail" TEXT,
    "issueDate" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "dueDate" TIMESTAMP(3) NOT NULL,
    "status" TEXT NOT NULL DEFAULT 'draft',
    "subtotal" DOUBLE PRECISION NOT NULL,
    "vatRate" DOUBLE PRECISION NOT NULL DEFAULT 25.0,
    "vatAmount" DOUBLE PRECISION NOT NULL,
    "total" DOUBLE PRECISION NOT NULL,
    "paidAt" TIMESTAMP(3),
    "paidAmount" DOUBLE PRECISION,
    "paymentMethod" TEXT,
    "paymentRef" TEXT,
    "billyInvoiceId" TEXT,
    "notes" TEXT,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "RenosInvoice_pkey" PRIMARY KEY ("id")
);

CREATE TABLE renos."RenosInvoiceLineItem" (
    "id" TEXT NOT NULL,
    "invoiceId" TEXT NOT NULL,
    "description" TEXT NOT NULL,
    "quantity" DOUBLE PRECISION NOT NULL DEFAULT 1,
    "unitPrice" DOUBLE PRECISION NOT NULL,
    "amount" DOUBLE PRECISION NOT NULL,
    "sortOrder" INTEGER NOT NULL DEFAULT 0,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "RenosInvoiceLineItem_pkey" PRIMARY KEY ("id")
);

CREATE INDEX "RenosLead_status_priority_idx" ON renos."RenosLead"("status", "priority");
CREATE INDEX "RenosLead_customerId_idx" ON renos."RenosLead"("customerId");
CREATE INDEX "RenosLead_createdAt_idx" ON renos."RenosLead"("createdAt");
CREATE INDEX "RenosBooking_customerId_idx" ON renos."RenosBooking"("customerId");
CREATE INDEX "RenosBooking_scheduledAt_idx" ON renos."RenosBooking"("scheduledAt");
CREATE UNIQUE INDEX "RenosCustomer_email_key" ON renos."RenosCustomer"("email");
CREATE INDEX "RenosCustomer_status_idx" ON renos."RenosCustomer"("status");
CREATE INDEX "RenosQuote_leadId_idx" ON renos."RenosQuote"("leadId");
CREATE INDEX "RenosQuote_status_idx" ON renos."RenosQuote"("status");
CREATE INDEX "RenosEmailResponse_leadId_idx" ON renos."RenosEmailResponse"("leadId");
CREATE INDEX "RenosEmailResponse_status_idx" ON renos."RenosEmailResponse"("status");
CREATE INDEX "RenosBreak_bookingId_idx" ON renos."RenosBreak"("bookingId");
CREATE UNIQUE INDEX "RenosInvoice_invoiceNumber_key" ON renos."RenosInvoice"("invoiceNumber");
CREATE UNIQUE INDEX "RenosInvoice_billyInvoiceId_key" ON renos."RenosInvoice"("billyInvoiceId");
CREATE INDEX "RenosInvoice_bookingId_idx" ON renos."RenosInvoice"("bookingId");
CREATE INDEX "RenosInvoice_status_idx" ON renos."RenosInvoice"("status");
CREATE INDEX "RenosInvoice_dueDate_idx" ON renos."RenosInvoice"("dueDate");
CREATE INDEX "RenosInvoiceLineItem_invoiceId_idx" ON renos."RenosInvoiceLineItem"("invoiceId");

ALTER TABLE renos."RenosLead" ADD CONSTRAINT "RenosLead_customerId_fkey" FOREIGN KEY ("customerId") REFERENCES renos."RenosCustomer"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE renos."RenosBooking" ADD CONSTRAINT "RenosBooking_customerId_fkey" FOREIGN KEY ("customerId") REFERENCES renos."RenosCustomer"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE renos."RenosBooking" ADD CONSTRAINT "RenosBooking_leadId_fkey" FOREIGN KEY ("leadId") REFERENCES renos."RenosLead"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE renos."RenosQuote" ADD CONSTRAINT "RenosQuote_leadId_fkey" FOREIGN KEY ("leadId") REFERENCES renos."RenosLead"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE renos."RenosEmailResponse" ADD CONSTRAINT "RenosEmailResponse_leadId_fkey" FOREIGN KEY ("leadId") REFERENCES renos."RenosLead"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE renos."RenosBreak" ADD CONSTRAINT "RenosBreak_bookingId_fkey" FOREIGN KEY ("bookingId") REFERENCES renos."RenosBooking"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE renos."RenosInvoice" ADD CONSTRAINT "RenosInvoice_bookingId_fkey" FOREIGN KEY ("bookingId") REFERENCES renos."RenosBooking"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE renos."RenosInvoiceLineItem" ADD CONSTRAINT "RenosInvoiceLineItem_invoiceId_fkey" FOREIGN KEY ("invoiceId") REFERENCES renos."RenosInvoice"("id") ON DELETE CASCADE ON UPDATE CASCADE;
